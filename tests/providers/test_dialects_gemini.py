"""Google's Gemini API against its own documentation's examples."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from providers import errors as tree
from providers.dialects import get
from providers.errors import BadReply, BadRequest, ContentFiltered, ModelNotFound, Unsupported, UpstreamError
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Embeddings, Operation
from tests.providers.exchanges import JSON, check_request, golden, parsed

gemini = get("gemini")
HI = {"messages": [{"role": "user", "content": "Hi"}]}
REPLIES = ["chat", "tools", "thinking", "structured", "safety"]


def body(payload: dict[str, Any], **quirks: Any) -> dict[str, Any]:
    target = Target("F", "gemini", "https://h/v1beta", quirks=Quirks.from_data(quirks))
    built: dict[str, Any] = json.loads(gemini.build(Operation.CHAT, {**HI, **payload}, target).body or b"")
    return built


@pytest.mark.parametrize("name", [*REPLIES, "media", "thinking_budget"])
def test_a_request_is_built_as_the_vendor_documents_it(name: str) -> None:
    check_request("gemini", Operation.CHAT, golden("gemini", name))


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_a_completion_of_openais_type(name: str) -> None:
    case = golden("gemini", name)
    reply = parsed("gemini", Operation.CHAT, case)
    assert reply == case["parsed"]
    ChatCompletion.model_validate(reply)


@pytest.mark.parametrize("name", ["embedding", "embeddings"])
def test_embeddings_are_vectors_in_the_order_of_the_input(name: str) -> None:
    case = golden("gemini", name)
    check_request("gemini", Operation.EMBEDDINGS, case)
    reply = parsed("gemini", Operation.EMBEDDINGS, case)
    assert isinstance(reply, Embeddings)
    assert {"vectors": list(reply), "usage": reply.usage} == case["parsed"]


def test_a_stream_is_asked_for_at_its_own_address() -> None:
    request = gemini.build(Operation.CHAT, {**HI, "stream": True}, Target("F", "models/g-1", "https://h/v1beta"))
    assert request.url == "https://h/v1beta/models/g-1:streamGenerateContent?alt=sse"
    assert request.headers["Accept"] == "text/event-stream"
    tuned = gemini.build(Operation.CHAT, HI, Target("F", "tunedModels/mine", "https://h/v1beta"))
    assert tuned.url == "https://h/v1beta/tunedModels/mine:generateContent"


@pytest.mark.parametrize("name", ["", "../v1/x", "a b", "a?key=1", "a#b", "a/../b", "a:b", "/a", "a/", "x" * 300, "é"])
def test_a_name_cannot_change_the_path(name: str) -> None:
    with pytest.raises(ModelNotFound):
        gemini.build(Operation.CHAT, HI, Target("F", name, "https://h/v1beta"))
    with pytest.raises(ModelNotFound):
        gemini.build(Operation.EMBEDDINGS, {"input": "x"}, Target("F", name, "https://h/v1beta"))


def test_a_reply_with_calls_goes_back_as_it_came() -> None:
    case = golden("gemini", "tools")
    message = parsed("gemini", Operation.CHAT, case)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "x"} for call in message["tool_calls"]]
    sent = body({"messages": [*HI["messages"], message, *results]})
    said = [part for part in case["reply"]["json"]["candidates"][0]["content"]["parts"] if not part.get("thought")]
    assert sent["contents"][1]["parts"] == said


def test_models_are_listed_by_pages() -> None:
    case = golden("gemini", "models")
    check_request("gemini", Operation.MODELS, case)
    page = parsed("gemini", Operation.MODELS, case)
    assert [model.id for model in page] == case["parsed"]["models"]
    assert page.next_page == case["parsed"]["next_page"]
    assert page[0].raw["supportedGenerationMethods"] == ["generateContent", "countTokens"]


@pytest.mark.parametrize(("status", "data", "kind", "wait"), golden("gemini", "errors")["cases"])
def test_each_error_has_its_class(status: int, data: dict[str, Any], kind: str, wait: float | None) -> None:
    for operation in gemini.operations:
        with pytest.raises(UpstreamError) as caught:
            gemini.parse(operation, status, JSON, json.dumps(data).encode())
        assert type(caught.value) is getattr(tree, kind)
        assert caught.value.upstream_status == status
        assert caught.value.retry_after_s == wait


def test_a_prompt_that_is_blocked_is_a_matter_of_content() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"}, "usageMetadata": {}}
    with pytest.raises(ContentFiltered) as caught:
        gemini.parse(Operation.CHAT, 200, JSON, json.dumps(blocked).encode())
    assert (caught.value.upstream_code, caught.value.detail) == ("prohibited_content", "no")


def test_an_answer_that_failed_is_a_bad_reply() -> None:
    failed = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "print(x"}]}
    with pytest.raises(BadReply, match="MALFORMED_FUNCTION_CALL"):
        gemini.parse(Operation.CHAT, 200, JSON, json.dumps(failed).encode())


def test_several_candidates_are_several_choices() -> None:
    entries = [{"content": {"parts": [{"text": said}]}, "index": at} for at, said in enumerate("ab")]
    reply = gemini.parse(Operation.CHAT, 200, JSON, json.dumps({"candidates": entries}).encode())
    assert isinstance(reply, dict)
    assert [(each["index"], each["message"]["content"]) for each in reply["choices"]] == [(0, "a"), (1, "b")]
    assert body({"n": 2})["generationConfig"] == {"candidateCount": 2}


FUNCTION = {"type": "function", "function": {"name": "f"}}
STRICT = {"type": "function", "function": {"name": "g", "strict": True}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}}


@pytest.mark.parametrize(
    ("tools", "choice", "config"),
    [
        ([FUNCTION], None, None),
        ([FUNCTION], "auto", {"mode": "AUTO"}),
        ([FUNCTION], "none", {"mode": "NONE"}),
        ([FUNCTION, STRICT], "none", {"mode": "NONE"}),
        ([FUNCTION], "required", {"mode": "ANY"}),
        ([FUNCTION, STRICT], None, {"mode": "VALIDATED"}),
        ([FUNCTION, STRICT], ALLOWED, {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_a_choice_of_tools_is_translated(tools: list[Any], choice: Any, config: Any) -> None:
    sent = body({"tools": tools, "tool_choice": choice}).get("toolConfig")
    assert sent == (config and {"functionCallingConfig": config})


def test_not_to_reason_is_said_only_to_models_that_can_be_told() -> None:
    sent = body({"reasoning_effort": "none"}, thinking_budget=True)
    assert sent["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 0}}


def test_an_answer_of_very_many_parts_is_read_in_the_time_of_its_length() -> None:
    parts = [*([{"text": "x" * 40}] * 100_000), *([{"functionCall": {"name": "f"}}] * 10_000)]
    answer = json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()
    started = time.process_time()
    reply = gemini.parse(Operation.CHAT, 200, JSON, answer)
    assert time.process_time() - started < 15  # about one; a copy for each part would take minutes
    assert isinstance(reply, dict)
    assert len(reply["choices"][0]["message"]["content"]) == 4_000_000
    assert len(reply["choices"][0]["message"]["tool_calls"]) == 10_000


def asking(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    "payload",
    [
        {"logit_bias": {"1": 5}},
        {"modalities": ["text", "audio"]},
        {"service_tier": "flex"},
        {"parallel_tool_calls": False, "tools": [FUNCTION]},
        {"functions": [{"name": "f"}]},
        {"no_such_parameter": 1},
        {"reasoning_effort": "none"},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        asking({"type": "file", "file": {"file_id": "x"}}),
        asking({"type": "image_url", "image_url": {"url": "http://h/a.png"}}),
        asking({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}}),
        asking({"type": "hologram"}),
        {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]},
        {"messages": [{"role": "function", "content": "Hi"}]},
        {"messages": [{"role": "assistant", "audio": {"id": "a"}}]},
    ],
)
def test_what_it_cannot_express_is_refused_and_not_dropped(payload: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        body(payload)
    assert caught.value.step == "build"


@pytest.mark.parametrize(
    "payload",
    [
        {"messages": []},
        {"messages": [{"role": "system", "content": "Be brief."}]},
        {"messages": [{"role": "user", "content": ""}]},
        {"messages": [{"role": "tool", "tool_call_id": "unknown", "content": "Hi"}]},
        asking({"type": "input_audio", "input_audio": {"data": "AAAA"}}),
        asking({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav/x"}}),
        asking({"type": "image_url", "image_url": {"url": "https://[::1/a.png"}}),
        {"temperature": 2.5},
        {"seed": "x"},
        {"top_logprobs": 3},
        {"n": 0},
        {"safety_settings": "off"},
    ],
)
def test_a_malformed_request_is_a_bad_request(payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        body(payload)
    assert caught.value.step == "build"


@pytest.mark.parametrize(
    ("value", "kind"), [([1, 2], Unsupported), ([[1]], Unsupported), ([{}], BadRequest), ([], BadRequest)]
)
def test_only_text_is_embedded(value: Any, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind):
        gemini.build(Operation.EMBEDDINGS, {"input": value}, Target("F", "m", "https://h/v1beta"))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"<html>", b'{"candidates": []}', b'{"candidates": [5]}', b'{"models": 5}'),
        *(b'{"embeddings": [{"values": [true]}]}', b'{"embedding": {"values": []}}', b'{"embedding": {}}'),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(data: bytes) -> None:
    for operation in gemini.operations:
        with pytest.raises(BadReply):
            gemini.parse(operation, 200, JSON, data)


def test_what_it_has_not_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        gemini.build(Operation.SPEECH, {"input": "x"}, Target("F", "m", "https://h"))
    with pytest.raises(Unsupported):
        gemini.decoder(Operation.EMBEDDINGS)


names = st.sampled_from(["content", "parts", "role", "user", "assistant", "tool", "text", "type", "thought"]) | (
    st.sampled_from(["functionCall", "args", "name", "id", "index", "finishReason", "usageMetadata", "error"])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=3), st.lists(st.dictionaries(names, values, max_size=5), max_size=3))
def test_no_request_breaks_it(payload: dict[str, Any], messages: list[Any]) -> None:
    try:
        body({**payload, "messages": messages})
    except UpstreamError as error:
        assert error.step == "build"


@given(st.dictionaries(names, values, max_size=6), st.lists(values, max_size=3))
def test_no_reply_breaks_it(reply: dict[str, Any], content: list[Any]) -> None:
    for name in ("candidates", "embeddings", "models", "embedding", "promptFeedback"):
        for operation in gemini.operations:
            try:
                gemini.parse(operation, 200, JSON, json.dumps({**reply, name: content}).encode())
            except UpstreamError:
                continue
