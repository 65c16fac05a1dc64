"""Ollama's wire format against the vendor's own examples, and against streams cut anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import for_type, get
from providers.errors import BadReply, BadRequest, ModelNotFound, ServerFailed, Unsupported, UpstreamError, WrongURL
from providers.probe_payloads import probe_payload
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Embeddings, Operation, RemoteModel
from tests.providers import exchanges
from tests.providers.exchanges import JSON, factory_of, golden

ollama = get("ollama")
CHATS = ["chat", "chat_format", "chat_tools"]
HI = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        *((name, Operation.CHAT) for name in CHATS),
        ("embeddings", Operation.EMBEDDINGS),
        ("models", Operation.MODELS),
        ("show", Operation.MODELS),
    ],
)
def test_a_request_is_built_as_the_vendor_documents_it(name: str, operation: Operation) -> None:
    exchanges.check_request(ollama, operation, golden("ollama", name))


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_reply_is_told_in_openais_words(name: str) -> None:
    case = golden("ollama", name)
    exchanges.check_chat(exchanges.parsed(ollama, Operation.CHAT, case), case)


def test_calls_without_an_id_get_one_that_is_theirs_alone() -> None:
    case = golden("ollama", "chat_tools")
    first, second = (exchanges.parsed(ollama, Operation.CHAT, case) for _ in range(2))
    assert first == second
    case["reply"]["json"]["created_at"] = "2024-07-22T20:33:29.000000Z"
    third = exchanges.parsed(ollama, Operation.CHAT, case)
    ids = [call["id"] for reply in (first, third) for call in reply["choices"][0]["message"]["tool_calls"]]
    assert len({*ids}) == 3  # one was given by the server, twice
    assert first["id"] != third["id"]


def test_embeddings_are_vectors_in_the_order_of_the_input() -> None:
    case = golden("ollama", "embeddings")
    parsed = exchanges.parsed(ollama, Operation.EMBEDDINGS, case)
    assert parsed == Embeddings(case["parsed"]["vectors"], usage=case["parsed"]["usage"], model="all-minilm")


def test_models_are_listed_with_their_whole_entry() -> None:
    parsed = exchanges.parsed(ollama, Operation.MODELS, golden("ollama", "models"))
    assert [model.id for model in parsed] == golden("ollama", "models")["parsed"]
    assert parsed[0].raw["details"]["family"] == "llama"


def test_a_model_tells_what_it_can_do() -> None:
    case = golden("ollama", "show")
    assert exchanges.parsed(ollama, Operation.MODELS, case) == [RemoteModel("", raw=case["reply"]["json"])]


@pytest.mark.parametrize("case", golden("ollama", "errors")["cases"], ids=lambda case: str(case["status"]))
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    for operation in (Operation.CHAT, Operation.EMBEDDINGS, Operation.MODELS):
        exchanges.check_error(ollama, operation, case)


def test_a_missing_model_is_told_in_the_servers_words() -> None:
    with pytest.raises(ModelNotFound) as caught:
        ollama.parse(Operation.CHAT, 404, JSON, b'{"error":"model \\"x\\" not found, try pulling it first"}')
    assert "try pulling it first" in caught.value.message


@pytest.mark.parametrize("end", ["", "/", "/v1", "/api", "/api/", "/api/chat", "/v1/chat/completions", "/api/embed"])
def test_every_base_url_that_people_paste_leads_to_the_same_place(end: str) -> None:
    at = Target("F", "m", f"http://gpu:11434{end}")
    assert ollama.build(Operation.CHAT, {"messages": HI}, at).url == "http://gpu:11434/api/chat"
    assert ollama.build(Operation.MODELS, {}, at).url == "http://gpu:11434/api/tags"


def test_a_proxys_path_is_kept_and_a_broken_url_told() -> None:
    at = Target("F", "m", "https://host/ollama/v1")
    assert ollama.build(Operation.EMBEDDINGS, {"input": "a"}, at).url == "https://host/ollama/api/embed"
    with pytest.raises(WrongURL):
        ollama.build(Operation.CHAT, {"messages": HI}, Target("F", "m", ""))


def sent(**payload: Any) -> dict[str, Any]:
    request = ollama.build(Operation.CHAT, {"messages": HI, **payload}, Target("F", "m", "http://h"))
    body: dict[str, Any] = json.loads(request.body or b"")
    return body


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_parameters_of_both_vocabularies_are_understood() -> None:
    body = sent(top_k=5, stop="x", options={"top_k": 7, "mirostat": 1}, think=True, keep_alive=-1)
    assert body["options"] == {"top_k": 7, "stop": ["x"], "mirostat": 1}
    assert (body["think"], body["keep_alive"]) == (True, -1)
    assert sent(response_format={"type": "json_object"})["format"] == "json"
    assert sent(stream=True)["stream"] is True


def test_tools_that_may_not_be_called_are_not_offered() -> None:
    tools = [function("a"), function("b")]
    assert "tools" not in sent(tools=tools, tool_choice="none")
    assert [tool["function"]["name"] for tool in sent(tools=tools)["tools"]] == ["a", "b"]


@pytest.mark.parametrize(
    "payload",
    [
        {"n": 2},
        {"logit_bias": {"1": 5}},
        {"tools": [function("a")], "parallel_tool_calls": False},
        {"tools": [function("a")], "tool_choice": "required"},
        {"tools": [function("a")], "tool_choice": {"type": "function", "function": {"name": "a"}}},
        {"reasoning_effort": "xhigh"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]},
    ],
)
def test_what_cannot_be_said_is_unsupported_not_dropped(payload: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        sent(**payload)
    assert caught.value.step == "build"


CALL = {"id": "c", "type": "function", "function": {"name": "a", "arguments": "[1]"}}


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        (Operation.CHAT, {"messages": []}),
        (Operation.CHAT, {"messages": [{"role": "narrator"}]}),
        (Operation.CHAT, {"messages": [{"role": "tool", "content": "x"}]}),
        (Operation.CHAT, {"messages": [{"role": "assistant", "tool_calls": [CALL]}]}),
        (Operation.CHAT, {"messages": HI, "options": 5}),
        (Operation.CHAT, {"messages": HI, "max_tokens": 0}),
        (Operation.EMBEDDINGS, {"input": [None]}),
    ],
)
def test_a_payload_that_cannot_be_sent_is_a_bad_request(operation: Operation, payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        ollama.build(operation, payload, Target("F", "m", "http://h"))
    assert caught.value.step == "build"


def test_what_it_cannot_do_is_unsupported() -> None:
    for act in (
        lambda: ollama.build(Operation.RERANK, {}, Target("F", "m", "http://h")),
        lambda: ollama.build(Operation.EMBEDDINGS, {"input": [1, 2]}, Target("F", "m", "http://h")),
        lambda: ollama.decoder(Operation.EMBEDDINGS),
    ):
        with pytest.raises(Unsupported):
            act()


@pytest.mark.parametrize(
    ("operation", "headers", "body"),
    [
        (Operation.CHAT, JSON, b"{}"),
        (Operation.CHAT, JSON, b'{"message": "Hi"}'),
        (Operation.CHAT, {"content-type": "text/plain; charset=utf-8"}, b"Ollama is running"),
        (Operation.EMBEDDINGS, JSON, b'{"embedding": [1]}'),
        (Operation.EMBEDDINGS, JSON, b'{"embeddings": [[1], ["2"]]}'),
        (Operation.MODELS, JSON, b'{"details": {}}'),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(operation: Operation, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadReply) as caught:
        ollama.parse(operation, 200, headers, body)
    assert caught.value.step == "parse"


def test_usage_stays_unknown_where_it_is_unknown() -> None:
    parsed = ollama.parse(
        Operation.CHAT, 200, JSON, b'{"message": {"content": "Hi"}, "eval_count": 3, "created_at": "?"}'
    )
    assert isinstance(parsed, dict)
    assert "usage" not in parsed
    assert parsed["created"] == 0


NAMES = ["message", "content", "tool_calls", "function", "name", "arguments", "thinking", "done", "error", "token"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(ollama.operations)), st.sampled_from([200, 400, 404, 429, 500, 503]))
def test_no_answer_makes_it_raise_anything_but_upstream_errors(data: Any, operation: Operation, status: int) -> None:
    shapes = [data, {"message": data}, {"embeddings": data}, {"models": data}, {"error": data}]
    for shape in [*shapes, {"message": {"content": data, "tool_calls": data}, "created_at": data, "logprobs": data}]:
        try:
            ollama.parse(operation, status, JSON, json.dumps(shape).encode())
        except UpstreamError as error:
            assert error.step


def test_a_failed_runner_is_worth_another_try() -> None:
    with pytest.raises(ServerFailed) as caught:
        ollama.parse(Operation.CHAT, 500, JSON, b'{"error": "llama runner process has terminated"}')
    assert caught.value.retry


def test_the_catalogues_row_speaks_it() -> None:
    factory = factory_of("ollama")
    for kind in ("chat", "image2text", "embedding"):
        dialect, operation = for_type(kind, factory["dialect"])
        to = Target("Ollama", "m", "http://gpu:11434", quirks=Quirks.from_data(factory["quirks"]))
        assert dialect.build(operation, probe_payload(kind, to.quirks), to).url.startswith("http://gpu:11434/api/")
