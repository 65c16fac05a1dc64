"""Anthropic's Messages API against its own documentation's examples."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from providers import errors as tree
from providers.dialects import get
from providers.errors import BadReply, BadRequest, Unsupported, UpstreamError
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Operation
from tests.providers.exchanges import JSON, check_request, golden, parsed

anthropic = get("anthropic")
HI = {"messages": [{"role": "user", "content": "Hi"}]}
REPLIES = ["chat", "tools", "thinking", "structured", "structured_by_tool", "refusal"]


def body(payload: dict[str, Any], **quirks: Any) -> dict[str, Any]:
    target = Target("F", "claude", "https://h/v1", quirks=Quirks.from_data(quirks))
    built: dict[str, Any] = json.loads(anthropic.build(Operation.CHAT, {**HI, **payload}, target).body or b"")
    return built


@pytest.mark.parametrize("name", [*REPLIES, "vision", "thinking_budget"])
def test_a_request_is_built_as_the_vendor_documents_it(name: str) -> None:
    check_request("anthropic", Operation.CHAT, golden("anthropic", name))


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_a_completion_of_openais_type(name: str) -> None:
    case = golden("anthropic", name)
    reply = parsed("anthropic", Operation.CHAT, case)
    assert reply == case["parsed"]
    ChatCompletion.model_validate(reply)


def test_a_reply_with_thinking_goes_back_as_it_came() -> None:
    case = golden("anthropic", "thinking")
    message = parsed("anthropic", Operation.CHAT, case)["choices"][0]["message"]
    sent = body({"messages": [*HI["messages"], message, *HI["messages"]]})
    assert sent["messages"][1]["content"] == case["reply"]["json"]["content"]


def test_models_are_listed_by_pages() -> None:
    case = golden("anthropic", "models")
    check_request("anthropic", Operation.MODELS, case)
    page = parsed("anthropic", Operation.MODELS, case)
    assert [[model.id, model.created] for model in page] == case["parsed"]["models"]
    assert page.next_page == case["parsed"]["next_page"]
    last = anthropic.parse(
        Operation.MODELS, 200, JSON, b'{"data": [{"id": "a", "created_at": "?"}], "has_more": false}'
    )
    assert isinstance(last, list)
    assert (last[0].created, getattr(last, "next_page", 0)) == (None, None)


@pytest.mark.parametrize("base", ["https://h", "https://h/", "https://h/v1", "https://h/v1/messages"])
def test_a_base_url_works_however_it_was_pasted(base: str) -> None:
    target = Target("F", "claude", base, quirks=Quirks.from_data({"version_path": "/v1"}))
    assert anthropic.build(Operation.CHAT, HI, target).url == "https://h/v1/messages"
    assert anthropic.build(Operation.MODELS, {}, target).url == "https://h/v1/models?limit=1000"


@pytest.mark.parametrize(("status", "data", "kind"), golden("anthropic", "errors")["cases"])
def test_each_error_has_its_class(status: int, data: dict[str, Any], kind: str) -> None:
    headers = {**JSON, "retry-after": "7"}
    with pytest.raises(UpstreamError) as caught:
        anthropic.parse(Operation.CHAT, status, headers, json.dumps(data).encode())
    assert type(caught.value) is getattr(tree, kind)
    assert caught.value.upstream_status == status
    assert caught.value.upstream_code == data["error"]["type"]
    if status >= 400:
        assert caught.value.retry_after_s == 7


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "payload",
    [
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"logit_bias": {"1": 5}},
        {"seed": 7},
        {"presence_penalty": 0.5},
        {"modalities": ["text", "audio"]},
        {"service_tier": "flex"},
        {"store": True},
        {"prediction": {"type": "content", "content": "x"}},
        {"functions": [{"name": "f"}]},
        {"no_such_parameter": 1},
        {"response_format": {"type": "grammar"}},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        {"tools": [FUNCTION], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
        {"tools": [FUNCTION], "response_format": {"type": "json_object"}},
        {"reasoning_effort": "low", "response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://h/a.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:image/tiff;base64,AA"}]}]},
        {"messages": [{"role": "system", "content": [PICTURE]}]},
        {"messages": [{"role": "user", "name": "Ann", "content": "Hi"}]},
        {"messages": [{"role": "function", "name": "f", "content": "Hi"}]},
        {"messages": [{"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}]},
        {"messages": [{"role": "assistant", "content": None, "audio": {"id": "a"}}]},
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
        {"messages": "Hi"},
        {"messages": ["Hi"]},
        {"messages": [{"role": "system", "content": "Be brief."}]},
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": ["Hi"]}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA"}}]}]},
        {"messages": [{"role": "tool", "content": "Hi"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        {"messages": [{"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "unsigned"}]}]},
        {"temperature": 1.5},
        {"temperature": "hot"},
        {"top_p": float("nan")},
        {"max_tokens": 0},
        {"max_tokens": 5.5},
        {"stop": 5},
        {"stop": [5]},
        {"reasoning_effort": "maximal"},
        {"thinking": "yes"},
        {"tools": [{"type": "function"}]},
        {"tools": [{"type": "function", "function": {"name": "answer_as_json"}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "none"}}]},
        {"tool_choice": "required"},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        {"tools": [FUNCTION], "tool_choice": {"type": "function"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
    ],
)
def test_a_malformed_request_is_a_bad_request(payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        body(payload)
    assert caught.value.step == "build"


@pytest.mark.parametrize(
    ("choice", "selected", "offered"),
    [
        (None, None, ["f", "g"]),
        ("auto", {"type": "auto"}, ["f", "g"]),
        ("none", {"type": "none"}, ["f", "g"]),
        ("required", {"type": "any"}, ["f", "g"]),
        ({"type": "function", "function": {"name": "g"}}, {"type": "tool", "name": "g"}, ["f", "g"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}},
            {"type": "auto"},
            ["f"],
        ),
    ],
)
def test_a_choice_of_tools_is_translated(choice: Any, selected: Any, offered: list[str]) -> None:
    tools = [FUNCTION, {"type": "function", "function": {"name": "g"}}]
    sent = body({"tools": tools, "tool_choice": choice})
    assert (sent.get("tool_choice"), [tool["name"] for tool in sent["tools"]]) == (selected, offered)


def test_calls_one_at_a_time_are_asked_for_only_where_there_may_be_calls() -> None:
    alone = {"tools": [FUNCTION], "parallel_tool_calls": False}
    assert body(alone)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert body({**alone, "tool_choice": "none"})["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("payload", "quirks", "limit", "thinking"),
    [
        ({}, {}, 4096, None),
        ({}, {"params": {"default": {"max_tokens": 8192}}}, 8192, None),
        ({"max_completion_tokens": 9}, {"params": {"default": {"max_tokens": 8192}}}, 9, None),
        ({"reasoning_effort": "none"}, {}, 4096, {"type": "disabled"}),
        ({"reasoning_effort": "medium"}, {"thinking_budget": True}, 12288, {"type": "enabled", "budget_tokens": 8192}),
        (
            {"reasoning_effort": "medium", "max_tokens": 2000},
            {"thinking_budget": True},
            2000,
            {"type": "enabled", "budget_tokens": 1500},
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {},
            6144,
            {"type": "enabled", "budget_tokens": 2048},
        ),
    ],
)
def test_there_is_always_a_limit_that_leaves_room_for_the_answer(
    payload: dict[str, Any], quirks: dict[str, Any], limit: int, thinking: Any
) -> None:
    sent = body(payload, **quirks)
    assert (sent["max_tokens"], sent.get("thinking")) == (limit, thinking)


def test_reasoning_by_budget_needs_room() -> None:
    with pytest.raises(BadRequest, match="1024"):
        body({"reasoning_effort": "low", "max_tokens": 1024}, thinking_budget=True)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"content": "Hi"}', b'{"choices": []}', b"<html>", b'{"content": [5]}']
)
def test_a_reply_of_another_shape_is_a_bad_reply(data: bytes) -> None:
    with pytest.raises(BadReply):
        anthropic.parse(Operation.CHAT, 200, JSON, data)
    with pytest.raises(BadReply):
        anthropic.parse(Operation.MODELS, 200, JSON, data)
    with pytest.raises(BadReply):
        anthropic.parse(Operation.CHAT, 200, {"content-type": "text/html"}, data)


def test_usage_that_is_unknown_is_left_out() -> None:
    reply = anthropic.parse(Operation.CHAT, 200, JSON, b'{"content": [], "usage": {"input_tokens": null}}')
    assert isinstance(reply, dict)
    assert "usage" not in reply
    ChatCompletion.model_validate(reply)


def test_what_it_has_not_is_unsupported() -> None:
    with pytest.raises(Unsupported):
        anthropic.build(Operation.EMBEDDINGS, {"input": "x"}, Target("F", "m", "https://h"))
    with pytest.raises(Unsupported):
        anthropic.decoder(Operation.MODELS)


names = (
    st.sampled_from(["type", "text", "content", "role", "user", "assistant", "tool", "messages", "tools"])
    | st.sampled_from(["function", "name", "id", "thinking", "tool_use", "input", "usage", "stop_reason"])
    | st.sampled_from(["signature", "tool_choice", "response_format", "error"])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=6), st.lists(st.dictionaries(names, values, max_size=5), max_size=3))
def test_no_request_breaks_it(payload: dict[str, Any], messages: list[Any]) -> None:
    try:
        body({**payload, "messages": messages})
    except UpstreamError as error:
        assert error.step == "build"


@given(st.dictionaries(names, values, max_size=6), st.lists(values, max_size=3))
def test_no_reply_breaks_it(reply: dict[str, Any], content: list[Any]) -> None:
    for data in (reply, {**reply, "content": content}, {**reply, "data": content}):
        for operation in (Operation.CHAT, Operation.MODELS):
            try:
                anthropic.parse(operation, 200, JSON, json.dumps(data).encode())
            except UpstreamError:
                continue
