"""Cohere's wire format against the vendor's own examples, and against streams cut anywhere."""

from __future__ import annotations

import base64
import json
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import for_type, get
from providers.dialects.cohere.stream import ChatDecoder
from providers.errors import (
    BadReply,
    BadRequest,
    GenericUpstreamError,
    ServerFailed,
    TimedOut,
    Unsupported,
    UpstreamError,
    WrongURL,
)
from providers.probe_payloads import probe_payload
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Embeddings, ModelPage, Operation, Ranking, Transcript
from tests.providers import exchanges
from tests.providers.exchanges import JSON, decoded, golden, rows

cohere = get("cohere")
CHATS = ["chat", "chat_tools", "chat_thinking"]
HI = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        *((name, Operation.CHAT) for name in CHATS),
        ("embeddings", Operation.EMBEDDINGS),
        ("embeddings_base64", Operation.EMBEDDINGS),
        ("rerank", Operation.RERANK),
        ("models", Operation.MODELS),
    ],
)
def test_a_request_is_built_as_the_vendor_documents_it(name: str, operation: Operation) -> None:
    exchanges.check_request(cohere, operation, golden("cohere", name))


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_reply_is_told_in_openais_words(name: str) -> None:
    case = golden("cohere", name)
    exchanges.check_chat(exchanges.parsed(cohere, Operation.CHAT, case), case)


@pytest.mark.parametrize("name", ["embeddings", "embeddings_base64"])
def test_embeddings_are_vectors_in_the_order_of_the_input(name: str) -> None:
    case = golden("cohere", name)
    parsed = exchanges.parsed(cohere, Operation.EMBEDDINGS, case)
    assert parsed == Embeddings(case["parsed"]["vectors"], usage=case["parsed"]["usage"])


def test_a_ranking_is_a_list_of_positions_and_scores() -> None:
    parsed = exchanges.parsed(cohere, Operation.RERANK, golden("cohere", "rerank"))
    assert isinstance(parsed, Ranking)
    assert [list(score) for score in parsed] == golden("cohere", "rerank")["parsed"]
    assert parsed.usage


def test_models_are_listed_page_by_page() -> None:
    parsed = exchanges.parsed(cohere, Operation.MODELS, golden("cohere", "models"))
    assert isinstance(parsed, ModelPage)
    assert [model.id for model in parsed] == golden("cohere", "models")["parsed"]
    assert parsed[1].raw["endpoints"] == ["embed"]
    assert parsed.next_page is not None
    request = cohere.build(Operation.MODELS, parsed.next_page, Target("F", "", "https://api.cohere.com"))
    assert request.url == "https://api.cohere.com/v1/models?page_size=1000&page_token=abc"


def test_a_transcription_is_uploaded_as_a_form() -> None:
    case = golden("cohere", "transcription")
    payload = {"file": base64.b64decode(case["file_base64"]), **case["payload"]}
    request = cohere.build(Operation.TRANSCRIPTION, payload, exchanges.target(case))
    assert (request.method, request.url) == (case["request"]["method"], case["request"]["url"])
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    *fields, file = list(BytesParser(policy=HTTP).parsebytes(head + (request.body or b"")).iter_parts())
    found = [[part.get_param("name", header="content-disposition"), part.get_content().strip()] for part in fields]
    assert found == case["fields"]
    assert file.get_content() == b"ID3"
    assert exchanges.parsed(cohere, Operation.TRANSCRIPTION, case) == Transcript(case["parsed"])


@pytest.mark.parametrize("case", golden("cohere", "errors")["cases"], ids=lambda case: str(case["status"]))
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    for operation in (Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK, Operation.MODELS):
        exchanges.check_error(cohere, operation, case)


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.cohere.com",
        "https://api.cohere.com/",
        "https://api.cohere.com/v1",
        "https://api.cohere.com/v2/",
        "https://api.cohere.com/compatibility/v1",
        "https://api.cohere.com/v2/chat",
        "https://api.cohere.com/v2/rerank",
    ],
)
def test_every_base_url_that_people_paste_leads_to_the_same_place(base_url: str) -> None:
    request = cohere.build(Operation.CHAT, {"messages": HI}, Target("F", "m", base_url))
    assert request.url == "https://api.cohere.com/v2/chat"


def test_a_proxys_path_is_kept_and_a_broken_url_told() -> None:
    request = cohere.build(Operation.CHAT, {"messages": HI}, Target("F", "m", "http://proxy/cohere/v2"))
    assert request.url == "http://proxy/cohere/v2/chat"
    with pytest.raises(WrongURL):
        cohere.build(Operation.CHAT, {"messages": HI}, Target("F", "m", "nonsense"))


def sent(**payload: Any) -> dict[str, Any]:
    request = cohere.build(Operation.CHAT, {"messages": HI, **payload}, Target("F", "m", "https://h"))
    body: dict[str, Any] = json.loads(request.body or b"")
    return body


def function(name: str, **values: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}, **values}}


def test_parameters_of_both_vocabularies_are_understood() -> None:
    body = sent(stop=["a", "b"], top_k=5, reasoning_effort="none", safety_mode="OFF", response_format={"type": "text"})
    assert (body["stop_sequences"], body["k"], body["safety_mode"]) == (["a", "b"], 5, "OFF")
    assert body["thinking"] == {"type": "disabled"}
    assert "response_format" not in body
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert sent(thinking={"type": "enabled", "token_budget": 9})["thinking"]["token_budget"] == 9


def test_a_choice_of_tools_is_kept() -> None:
    tools = [function("a"), function("b")]
    assert "tool_choice" not in sent(tools=tools, tool_choice="auto")
    assert sent(tools=tools, tool_choice="none")["tool_choice"] == "NONE"
    one = sent(tools=tools, tool_choice={"type": "function", "function": {"name": "b"}})
    assert one["tool_choice"] == "REQUIRED"
    assert [tool["function"]["name"] for tool in one["tools"]] == ["b"]
    assert sent(tools=[function("a", strict=True)])["strict_tools"] is True


@pytest.mark.parametrize(
    "payload",
    [
        {"n": 2},
        {"logit_bias": {"1": 5}},
        {"top_logprobs": 3},
        {"parallel_tool_calls": False, "tools": [function("a")]},
        {"reasoning_effort": "low"},
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [function("a", strict=True), function("b")]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}]}
            ]
        },
        {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
        {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]},
    ],
)
def test_what_cannot_be_said_is_unsupported_not_dropped(payload: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        sent(**payload)
    assert caught.value.step == "build"


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        (Operation.CHAT, {"messages": []}),
        (Operation.CHAT, {"messages": ["Hi"]}),
        (Operation.CHAT, {"messages": [{"role": "narrator", "content": "Hi"}]}),
        (Operation.CHAT, {"messages": [{"role": "tool", "content": "Hi"}]}),
        (Operation.CHAT, {"messages": HI, "max_tokens": "many"}),
        (Operation.CHAT, {"messages": [{"role": "user", "content": "\ud800"}]}),
        (Operation.CHAT, {"messages": HI, "tools": {"a": 1}}),
        (Operation.EMBEDDINGS, {"input": []}),
        (Operation.EMBEDDINGS, {"input": {"text": "a"}}),
        (Operation.RERANK, {"query": "x"}),
        (Operation.RERANK, {"query": "x", "documents": [{"title": "a", "text": "b"}]}),
        (Operation.TRANSCRIPTION, {"file": b""}),
    ],
)
def test_a_payload_that_cannot_be_sent_is_a_bad_request(operation: Operation, payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        cohere.build(operation, payload, Target("F", "m", "https://h"))
    assert caught.value.step == "build"


def test_what_it_cannot_do_is_unsupported() -> None:
    for act in (
        lambda: cohere.build(Operation.SPEECH, {}, Target("F", "m", "https://h")),
        lambda: cohere.build(Operation.EMBEDDINGS, {"input": [[1, 2]]}, Target("F", "m", "https://h")),
        lambda: cohere.decoder(Operation.RERANK),
    ):
        with pytest.raises(Unsupported):
            act()


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        (Operation.CHAT, {}),
        (Operation.CHAT, []),
        (Operation.CHAT, {"choices": []}),
        (Operation.EMBEDDINGS, {"embeddings": {"int8": [[1]]}}),
        (Operation.EMBEDDINGS, {"embeddings": {"float": [["x"]]}}),
        (Operation.EMBEDDINGS, {"embeddings": {"float": [[1], None]}}),
        (Operation.RERANK, {"results": [{"index": "0"}]}),
        (Operation.MODELS, {"data": 1}),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(operation: Operation, data: Any) -> None:
    with pytest.raises(BadReply) as caught:
        cohere.parse(operation, 200, JSON, json.dumps(data).encode())
    assert caught.value.step == "parse"


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK, Operation.MODELS])
def test_an_error_that_comes_as_a_success_is_still_an_error(operation: Operation) -> None:
    with pytest.raises(GenericUpstreamError):
        cohere.parse(operation, 200, JSON, b'{"message": "something went wrong"}')


@pytest.mark.parametrize(("reason", "kind"), [("ERROR", ServerFailed), ("TIMEOUT", TimedOut)])
def test_a_generation_that_failed_is_an_error(reason: str, kind: type[UpstreamError]) -> None:
    data = {"finish_reason": reason, "message": {"content": [{"type": "text", "text": "half an ans"}]}}
    with pytest.raises(kind):
        cohere.parse(Operation.CHAT, 200, JSON, json.dumps(data).encode())
    event = {"type": "message-end", "delta": {"finish_reason": reason, "error": "out of memory"}}
    events, decoder, error = decoded(ChatDecoder(), [f"data: {json.dumps(event)}\n\n".encode()])
    assert (events, decoder.finished) == ([], False)
    assert isinstance(error, UpstreamError)
    assert "out of memory" in str(error)


def test_usage_stays_unknown_where_it_is_unknown() -> None:
    for usage in (
        {},
        None,
        {"tokens": {"input_tokens": 3}},
        {"billed_units": {"input_tokens": -1, "output_tokens": 1}},
    ):
        data = {"message": {"content": "Hi"}, "finish_reason": "COMPLETE", "usage": usage}
        assert "usage" not in cohere.parse(Operation.CHAT, 200, JSON, json.dumps(data).encode())  # type: ignore[operator]


NAMES = ["type", "delta", "message", "content", "tool_calls", "function", "text", "usage", "tokens", "index", "error"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(cohere.operations)), st.sampled_from([200, 400, 404, 429, 498, 500]))
def test_no_answer_makes_it_raise_anything_but_upstream_errors(data: Any, operation: Operation, status: int) -> None:
    shapes = [data, {"message": data, "logprobs": data, "usage": data}, {"embeddings": data, "meta": data}]
    for shape in [*shapes, {"results": data}, {"models": data}, {"message": {"content": data, "tool_calls": data}}]:
        try:
            cohere.parse(operation, status, JSON, json.dumps(shape).encode())
        except UpstreamError as error:
            assert error.step


def test_the_catalogues_row_leads_each_of_its_types_to_a_call() -> None:
    factory, *models = rows("cohere")
    kinds = {kind for model in models for kind in model["fields"]["model_types"].split(",")}
    assert kinds == {"chat", "embedding", "rerank", "speech2text"}
    for kind in kinds:
        dialect, operation = for_type(kind, factory["fields"]["dialect"])
        to = Target("Cohere", "m", factory["fields"]["base_url"], quirks=Quirks.from_data(factory["fields"]["quirks"]))
        assert dialect.build(operation, probe_payload(kind, to.quirks), to).origin == "https://api.cohere.com:443"
