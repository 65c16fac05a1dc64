"""Chat, asked and answered. Source: https://docs.ollama.com/api/chat"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions, tools, vocabulary
from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.ollama import paths, reading
from providers.dialects.vocabulary import bad, joined_text, put, unsupported
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

NAME = "ollama"
_OPTIONS = ("temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "num_ctx")
_NATIVE = ("keep_alive", "options", "think", "format", "truncate", "shift")
_TRANSLATED = (
    *("messages", "max_tokens", "max_completion_tokens", "stop", "response_format", "reasoning_effort"),
    *("tools", "tool_choice", "logprobs", "top_logprobs"),
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    vocabulary.refuse_others(asked, {*_OPTIONS, *_NATIVE, *_TRANSLATED}, NAME)
    body: dict[str, Any] = {"model": target.upstream_model, "stream": bool(asked.get("stream"))}
    body["messages"] = _messages(asked)
    wanted = vocabulary.response_format(asked, NAME)
    if wanted is not None:
        body["format"] = "json" if wanted.schema is None else wanted.schema
    body.update({name: asked[name] for name in _NATIVE if name != "options" and asked.get(name) is not None})
    _put_thinking(asked, body)
    _put_options(asked, body)
    _put_tools(asked, body)
    put(body, logprobs=asked.get("logprobs") or None, top_logprobs=asked.get("top_logprobs") or None)
    accept = "application/x-ndjson" if body["stream"] else "application/json"
    return json_request(paths.url(target, Operation.CHAT, "/api/chat"), body, accept=accept)


def _messages(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}  # of the tools that were called, by the calls' ids
    return [_message(message, names) for message in vocabulary.messages(asked, NAME)]


def _message(message: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    role = message.get("role")
    if role in ("system", "developer"):
        return {"role": "system", "content": joined_text(message.get("content"), NAME)}
    if role == "user":
        return _user(message.get("content"))
    if role == "assistant":
        result: dict[str, Any] = {"role": "assistant", "content": vocabulary.said(message, NAME)}
        thought = completions.text(message, "reasoning_content") or completions.text(message, "reasoning")
        calls = tools.calls(message)
        names.update({call.id: call.name for call in calls})
        put(result, thinking=thought, tool_calls=[_call(call) for call in calls])
        return result
    if role == "tool":
        if not isinstance(call := message.get("tool_call_id"), str) or not call:
            raise bad("A tool's message has no tool_call_id.")
        result = {"role": "tool", "tool_call_id": call, "content": joined_text(message.get("content"), NAME)}
        put(result, tool_name=names.get(call))
        return result
    raise bad("A message has no role of system, developer, user, assistant or tool.")


def _call(call: tools.Call) -> dict[str, Any]:
    return {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}


def _user(content: Any) -> dict[str, Any]:
    texts, images = [], []
    for part in vocabulary.parts(content):
        if part["type"] == "text":
            texts.append(vocabulary.text_of(part))
        elif part["type"] == "image_url":
            found = vocabulary.data_url(vocabulary.url_in(part))
            if found is None:
                raise unsupported("a link to a picture; send it as a data URL", NAME)
            images.append(found[1])
        else:
            raise unsupported(f"{part['type']} in a message", NAME)
    result: dict[str, Any] = {"role": "user", "content": "\n".join(texts)}
    put(result, images=images)
    return result


def _put_thinking(asked: Mapping[str, Any], body: dict[str, Any]) -> None:
    effort = vocabulary.effort(asked)
    if effort is None:
        return
    if effort not in ("none", "low", "medium", "high"):
        raise unsupported(f"a reasoning_effort of {effort}; use none, low, medium or high", NAME)
    body["think"] = False if effort == "none" else effort


def _put_options(asked: Mapping[str, Any], body: dict[str, Any]) -> None:
    native = asked.get("options") or {}
    if not isinstance(native, Mapping):
        raise bad("options is not an object.")
    options = {name: asked[name] for name in _OPTIONS if asked.get(name) is not None}
    put(
        options,
        num_predict=vocabulary.count(asked, "max_completion_tokens", "max_tokens"),
        stop=vocabulary.stops(asked),
    )
    put(body, options={**options, **native})


def _put_tools(asked: Mapping[str, Any], body: dict[str, Any]) -> None:
    """Ollama leaves the choice of tools to the model; not to be allowed any is to be offered none."""
    offered = tools.tools(asked, NAME)
    choice = tools.tool_choice(asked, offered, NAME)
    if choice is not None and choice.mode == "required":
        raise unsupported("a tool_choice that requires a call", NAME)
    if choice is not None and choice.mode == "none":
        return
    if choice is not None and choice.only:
        offered = [tool for tool in offered if tool.name in choice.only]
    if any(tool.strict for tool in offered):
        raise unsupported("strict tools", NAME)
    put(body, tools=[_tool(tool) for tool in offered])


def _tool(tool: tools.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    put(function, description=tool.description)
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    message = data.get("message")
    if not isinstance(message, Mapping):
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The chat answer has no message.", headers, body)
    seed = completions.text(data, "created_at")
    calls = reading.calls(message.get("tool_calls"), seed)
    said: dict[str, Any] = {"content": completions.text(message, "content") or None}
    put(said, reasoning_content=reading.thought(message), tool_calls=calls)
    finish = reading.finish(data.get("done_reason"), called=bool(calls))
    choice = completions.choice(0, said, finish, reading.logprobs(data.get("logprobs")))
    return completions.completion(
        id=reading.reply_id(seed),
        model=completions.text(data, "model"),
        choices=[choice],
        usage=reading.usage(data),
        created=reading.created(seed),
    )
