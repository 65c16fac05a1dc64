"""Chat, asked and answered. Source: https://docs.cohere.com/reference/chat"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions, tools, vocabulary
from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.cohere import paths, reading
from providers.dialects.failures import classify_body
from providers.dialects.vocabulary import bad, joined_text, put, unsupported
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

NAME = "cohere"
# Names that mean the same on both sides, and those that only Cohere has.
_SAME = ("temperature", "seed", "frequency_penalty", "presence_penalty", "logprobs")
_NATIVE = ("citation_options", "documents", "k", "p", "priority", "safety_mode", "stop_sequences", "thinking")
_TRANSLATED = (
    *("messages", "max_tokens", "max_completion_tokens", "stop", "top_p", "top_k", "response_format"),
    *("tools", "tool_choice", "reasoning_effort", "strict_tools"),
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    vocabulary.refuse_others(asked, {*_SAME, *_NATIVE, *_TRANSLATED}, NAME)
    body: dict[str, Any] = {"model": target.upstream_model, "stream": bool(asked.get("stream"))}
    body["messages"] = [_message(message) for message in vocabulary.messages(asked, NAME)]
    body.update({name: asked[name] for name in (*_SAME, *_NATIVE) if asked.get(name) is not None})
    put(
        body,
        max_tokens=vocabulary.count(asked, "max_completion_tokens", "max_tokens"),
        stop_sequences=vocabulary.stops(asked),
        p=vocabulary.number(asked, "top_p", 0, 1),
        k=vocabulary.count(asked, "top_k"),
        response_format=_response_format(asked),
        thinking=_thinking(asked),
    )
    _put_tools(asked, body)
    accept = "text/event-stream" if body["stream"] else "application/json"
    return json_request(paths.url(target, Operation.CHAT, "/v2/chat"), body, accept=accept)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = message.get("role")
    if role in ("system", "developer"):
        return {"role": "system", "content": joined_text(message.get("content"), NAME)}
    if role == "user":
        content = message.get("content")
        return {"role": "user", "content": content if isinstance(content, str) else vocabulary.each(content, _part)}
    if role == "assistant":
        return _assistant(message)
    if role == "tool":
        if not isinstance(call := message.get("tool_call_id"), str) or not call:
            raise bad("A tool's message has no tool_call_id.")
        return {"role": "tool", "tool_call_id": call, "content": joined_text(message.get("content"), NAME)}
    raise bad("A message has no role of system, developer, user, assistant or tool.")


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": vocabulary.text_of(part)}
    if part["type"] != "image_url":
        raise unsupported(f"{part['type']} in a message", NAME)
    image = {"url": vocabulary.url_in(part)}
    outer = part["image_url"]
    put(image, detail=outer.get("detail") if isinstance(outer, Mapping) else None)
    return {"type": "image_url", "image_url": image}


def _assistant(message: Mapping[str, Any]) -> dict[str, Any]:
    """What the assistant said before it called tools is Cohere's tool_plan."""
    result: dict[str, Any] = {"role": "assistant"}
    text = vocabulary.said(message, NAME)
    calls = [completions.call(call.id, call.name, call.arguments) for call in tools.calls(message)]
    if calls:
        put(result, tool_calls=calls, tool_plan=text)
    thought = completions.text(message, "reasoning_content") or completions.text(message, "reasoning")
    spoken = [{"type": "text", "text": text}] if text and not calls else []
    if thought:
        result["content"] = [{"type": "thinking", "thinking": thought}, *spoken]
    elif not calls:
        result["content"] = text
    return result


def _put_tools(asked: Mapping[str, Any], body: dict[str, Any]) -> None:
    offered = tools.tools(asked, NAME)
    choice = tools.tool_choice(asked, offered, NAME)
    if choice is not None and choice.only:  # to be allowed one tool is to be offered no other
        offered = [tool for tool in offered if tool.name in choice.only]
    if not offered:
        return
    body["tools"] = [_tool(tool) for tool in offered]
    strict = {tool.strict for tool in offered}
    if len(strict) == 2:
        raise unsupported("strict for some of the tools only", NAME)
    if strict == {True} or asked.get("strict_tools"):
        body["strict_tools"] = True
    if choice is not None and choice.mode != "auto":
        body["tool_choice"] = choice.mode.upper()


def _tool(tool: tools.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters or {"type": "object"}}
    put(function, description=tool.description)
    return {"type": "function", "function": function}


def _response_format(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted = vocabulary.response_format(asked, NAME)
    if wanted is None:
        return None
    return {"type": "json_object"} if wanted.schema is None else {"type": "json_object", "json_schema": wanted.schema}


def _thinking(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Cohere's models think or do not; how hard, only a budget of tokens tells (`thinking`)."""
    effort = vocabulary.effort(asked)
    if effort not in (None, "none", "high"):
        raise unsupported(f"a reasoning_effort of {effort}; use none, high or thinking.token_budget", NAME)
    return None if effort is None else {"type": "disabled" if effort == "none" else "enabled"}


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    message = data.get("message")
    if not isinstance(message, dict):
        if data.get("error") or isinstance(message, str):
            raise classify_body(200, body)
        raise unexpected("The chat answer has no message.", headers, body)
    reading.check_finish(data.get("finish_reason"), message)
    content, thought = reading.spoken(message.get("content"))
    said: dict[str, Any] = {"content": (completions.text(message, "tool_plan") + content) or None}
    put(said, reasoning_content=thought, tool_calls=reading.calls(message.get("tool_calls")))
    put(said, citations=citations if isinstance(citations := message.get("citations"), list) else None)
    choice = completions.choice(
        0, said, reading.finish(data.get("finish_reason")), reading.logprobs(data.get("logprobs"))
    )
    return completions.completion(
        id=completions.text(data, "id"), model="", choices=[choice], usage=reading.usage(data.get("usage"))
    )
