"""Amazon Bedrock's runtime: golden exchanges from AWS's documentation, judged by AWS's own model of the API."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator

from providers import dialects, errors
from providers.errors import BadReply, BadRequest, ModelNotFound, Unsupported, UpstreamError
from providers.target import Target
from providers.wire import Operation, Score
from tests.providers.exchanges import JSON, check_chat, check_request, golden, parsed, target

CHATS = ["chat", "tools", "thinking", "structured", "structured_by_tool"]
EMBEDDINGS = ["embeddings_titan", "embeddings_titan_v1", "embeddings_cohere", "embeddings_cohere_v4"]
bedrock = dialects.get("bedrock")


def build(payload: dict[str, Any], *, model: str = "amazon.nova-lite-v1:0", **quirks: Any) -> dict[str, Any]:
    """The body of a chat's request."""
    case = {"model": model, "base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com"}
    asked = {"messages": [{"role": "user", "content": "Hi"}], **payload}
    loaded: dict[str, Any] = json.loads(bedrock.build(Operation.CHAT, asked, target(case, **quirks)).body or b"")
    return loaded


@pytest.mark.parametrize("name", ["models", "models_profiles"])
def test_models_are_listed_and_then_the_profiles_of_others(name: str) -> None:
    case = golden("bedrock", name)
    check_request(bedrock, Operation.MODELS, case)
    page = parsed(bedrock, Operation.MODELS, case)
    assert [[model.id, model.owned_by] for model in page] == case["parsed"]["models"]
    assert page.next_page == case["parsed"]["next_page"]


@cache
def shape(operation: str) -> Any:
    return get_session().get_service_model("bedrock-runtime").operation_model(operation).input_shape


def with_bytes(data: Any) -> Any:
    """The body as AWS's library takes it, which encodes bytes itself."""
    if isinstance(data, list):
        return [with_bytes(item) for item in data]
    if not isinstance(data, dict):
        return data
    blobs = ("bytes", "redactedContent")
    return {key: base64.b64decode(item) if key in blobs else with_bytes(item) for key, item in data.items()}


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_goes_there_and_back(name: str) -> None:
    case = golden("bedrock", name)
    check_request(bedrock, Operation.CHAT, case)
    check_chat(parsed(bedrock, Operation.CHAT, case), case)


@pytest.mark.parametrize("name", CHATS)
@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_awss_own_library_would_send_it(name: str, operation: str) -> None:
    case = golden("bedrock", name)
    params = {"modelId": case["model"], **with_bytes(case["request"]["json"])}
    assert not ParamValidator().validate(params, shape(operation)).has_errors()
    wrong = ParamValidator().validate({**params, "messages": [{"role": "user", "content": "x"}]}, shape(operation))
    assert wrong.has_errors()


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_go_there_and_back(name: str) -> None:
    case = golden("bedrock", name)
    check_request(bedrock, Operation.EMBEDDINGS, case)
    reply = parsed(bedrock, Operation.EMBEDDINGS, case)
    assert {"vectors": reply.vectors, "usage": reply.usage} == case["parsed"]


@pytest.mark.parametrize("name", ["rerank", "rerank_amazon"])
def test_a_rerank_goes_there_and_back(name: str) -> None:
    case = golden("bedrock", name)
    check_request(bedrock, Operation.RERANK, case)
    assert list(parsed(bedrock, Operation.RERANK, case)) == [Score(*pair) for pair in case["parsed"]]


@pytest.mark.parametrize("case", golden("bedrock", "errors")["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize("where", ["header", "body"])
def test_each_error_has_its_class(case: dict[str, Any], where: str) -> None:
    headers, data = {**JSON, "retry-after": "7"}, {"message": case["message"]}
    if where == "header":
        headers["x-amzn-errortype"] = f"{case['name']}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    else:
        data["__type"] = f"com.amazon.coral.service#{case['name']}"
    with pytest.raises(UpstreamError) as caught:
        bedrock.parse(Operation.CHAT, case["status"], headers, json.dumps(data).encode())
    assert type(caught.value) is getattr(errors, case["error"])
    assert (caught.value.upstream_status, caught.value.retry_after_s) == (case["status"], 7)
    assert case.get("hint", "") in caught.value.hint


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, b"<html>Bad gateway</html>", errors.Overloaded),
        (403, b"", errors.PermissionDenied),
        (400, b"[]", BadRequest),
    ],
)
def test_an_error_without_a_name_is_told_by_its_status(status: int, body: bytes, kind: type[UpstreamError]) -> None:
    with pytest.raises(UpstreamError) as caught:
        bedrock.parse(Operation.CHAT, status, {}, body)
    assert type(caught.value) is kind


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"output": {"message": {"content": "x"}}}', b'{"output": []}'])
def test_a_chat_that_is_none_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        bedrock.parse(Operation.CHAT, 200, JSON, body)
    with pytest.raises(BadReply):
        bedrock.parse(Operation.CHAT, 200, {"content-type": "text/html"}, body)


@pytest.mark.parametrize("data", [{}, {"embedding": []}, {"embedding": ["x"]}, {"embeddings": {"int8": [[1]]}}])
def test_vectors_that_are_none_are_a_bad_reply(data: dict[str, Any]) -> None:
    with pytest.raises(BadReply):
        bedrock.parse(Operation.EMBEDDINGS, 200, JSON, json.dumps(data).encode())


def test_a_garbled_answer_is_a_bad_reply() -> None:
    data = {"output": {"message": {"content": []}}, "stopReason": "malformed_tool_use"}
    with pytest.raises(BadReply, match="malformed"):
        bedrock.parse(Operation.CHAT, 200, JSON, json.dumps(data).encode())


TOOL = {"type": "function", "function": {"name": "f"}}
USED = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t", "content": ""},
]


def test_a_choice_of_tools_is_made_as_converse_can() -> None:
    one = {"type": "function", "function": {"name": "f"}}
    assert build({"tools": [TOOL], "tool_choice": "auto"})["toolConfig"]["toolChoice"] == {"auto": {}}
    assert build({"tools": [TOOL], "tool_choice": one})["toolConfig"]["toolChoice"] == {"tool": {"name": "f"}}
    assert "toolConfig" not in build({"tools": [TOOL], "tool_choice": "none"})
    assert "toolChoice" not in build({"tools": [TOOL], "messages": USED})["toolConfig"]


@pytest.mark.parametrize(
    "payload",
    [
        {"tools": [TOOL], "tool_choice": "none", "messages": USED},
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tools": [TOOL], "response_format": {"type": "json_object"}},
        {"thinking": {"type": "enabled"}, "response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/i.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]},
        {"messages": [{"role": "critic", "content": "Hi"}]},
        {"n": 2},
        {"seed": 1},
        {"service_tier": "scale"},
    ],
)
def test_what_converse_cannot_express_is_told(payload: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        build(payload)


@pytest.mark.parametrize(
    "payload",
    [
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "assistant", "thinking_blocks": [{"type": "thinking"}]}]},
        {"messages": [{"role": "assistant", "thinking_blocks": "x"}]},
        {"temperature": 2},
        {"guardrailConfig": "gr-1"},
        {"tools": [{"type": "function", "function": {"name": "answer_as_json"}}]},
    ],
)
def test_what_is_malformed_is_told(payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        build(payload)


@pytest.mark.parametrize("model", ["", "..", "../x", "a?b", "a b", "ä"])
def test_no_model_leads_to_another_path(model: str) -> None:
    with pytest.raises(ModelNotFound):
        build({}, model=model)


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        ("amazon.titan-embed-text-v2:0", {"input": ["a", "b"]}),
        ("amazon.titan-embed-text-v2:0", {"input": "a", "truncate": "END"}),
        ("amazon.titan-embed-text-v1", {"input": "a", "dimensions": 256}),
        ("cohere.embed-english-v3", {"input": "a", "dimensions": 256}),
        ("cohere.embed-english-v3", {"input": "a", "normalize": True}),
        ("amazon.nova-lite-v1:0", {"input": "a"}),
        ("cohere.embed-english-v3", {"input": [1, 2]}),
    ],
)
def test_what_a_model_cannot_embed_is_told(model: str, payload: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        bedrock.build(Operation.EMBEDDINGS, payload, Target("F", model, "https://h"))


def test_what_cannot_be_reranked_is_told() -> None:
    asked = {"query": "q", "documents": ["a", {"text": "b"}]}
    with pytest.raises(Unsupported, match="reranks"):
        bedrock.build(Operation.RERANK, asked, Target("F", "vendor.rerank-v1:0", "https://h"))
    with pytest.raises(Unsupported, match="max_tokens_per_doc"):
        amazon = Target("F", "amazon.rerank-v1:0", "https://h")
        bedrock.build(Operation.RERANK, {**asked, "max_tokens_per_doc": 5}, amazon)
    cohere = Target("F", "cohere.rerank-v3-5:0", "https://h")
    assert json.loads(bedrock.build(Operation.RERANK, asked, cohere).body or b"")["documents"] == ["a", "b"]
    with pytest.raises(BadRequest):
        bedrock.build(Operation.RERANK, {"query": "q", "documents": [5]}, cohere)


def test_it_has_neither_speech_nor_streams_of_vectors() -> None:
    with pytest.raises(Unsupported):
        bedrock.build(Operation.SPEECH, {}, Target("F", "m", "https://h"))
    with pytest.raises(Unsupported):
        bedrock.decoder(Operation.EMBEDDINGS)
