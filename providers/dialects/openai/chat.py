"""Chat completions, whole and streamed.

Sources: https://platform.openai.com/docs/api-reference/chat/create and …/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import as_json, text, tokens
from providers.dialects.failures import classify_body
from providers.dialects.streams import Chunks, JSONEventDecoder
from providers.dialects.vocabulary import put
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

PATH = "/chat/completions"
_FINISH = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_FINISH_ALIASES = {"max_tokens": "length", "max_length": "length", "model_length": "length", "tool_use": "tool_calls"}


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "messages")
    body = target.quirks.apply_params(Operation.CHAT, {**payload, "model": target.upstream_model})
    accept = "text/event-stream" if body.get("stream") else "application/json"
    return json_request(target.url_for(Operation.CHAT, PATH), body, accept=accept)


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        if data.get("error") or data.get("base_resp") or data.get("code"):
            raise classify_body(200, body)
        raise unexpected("The chat answer has no choices.", headers, body)
    if not all(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices):
        raise unexpected("A choice of the chat answer has no message.", headers, body)
    return _completed(data)


def _completed(data: dict[str, Any]) -> ChatReply:
    """The same with the fields that OpenAI's types require; usage stays unknown where it is unknown."""
    data["object"] = "chat.completion"
    for name in ("id", "model"):
        if not isinstance(data.get(name), str):
            data[name] = str(data.get(name) or "")
    if type(data.get("created")) is not int:
        data["created"] = 0
    if (counted := _usage(data.pop("usage", None))) is not None:
        data["usage"] = counted
    for position, choice in enumerate(data["choices"]):
        _complete(position, choice)
    return data


def _complete(position: int, choice: dict[str, Any]) -> None:
    choice.setdefault("logprobs", None)
    if type(choice.get("index")) is not int:
        choice["index"] = position
    choice["finish_reason"] = _finish(choice.get("finish_reason"))
    choice["message"] = _message(choice["message"])


def _finish(reason: Any) -> str:
    """OpenAI's word for why an answer ended."""
    if isinstance(reason, str) and reason in _FINISH:
        return reason
    return _FINISH_ALIASES.get(str(reason).lower(), "stop")


def _message(said: dict[str, Any]) -> dict[str, Any]:
    """The message of the assistant, whose calls have ids, and arguments as JSON, as OpenAI's have."""
    message = _spoken(said)
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    message["role"] = "assistant"
    if not isinstance(message["refusal"], str):
        message["refusal"] = None
    calls = message.pop("tool_calls", None)
    if isinstance(calls, list) and calls:
        message["tool_calls"] = [_call(place, call) for place, call in enumerate(calls) if isinstance(call, dict)]
    return message


def _spoken(said: dict[str, Any]) -> dict[str, Any]:
    """A message, or a piece of one, with its text in `content` and its thoughts in `reasoning_content`.

    Some vendors name thoughts `reasoning`; Mistral puts both into a list: https://docs.mistral.ai/capabilities/reasoning
    """
    content = said.get("content")
    if isinstance(content, str | None) and "reasoning" not in said:
        return said
    said = dict(said)
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        thoughts = [thought for part in parts for thought in (part.get("thinking") or ()) if isinstance(thought, dict)]
        said["content"] = "".join(text(part, "text") for part in parts) or None
        put(said, reasoning_content="".join(text(thought, "text") for thought in thoughts))
    elif not isinstance(content, str | None):
        said["content"] = None
    if isinstance(thought := said.get("reasoning"), str | None):
        said.pop("reasoning", None)
        put(said, reasoning_content=said.get("reasoning_content") or thought)
    return said


def _call(place: int, call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if call.get("type") not in (None, "function") or not isinstance(function, dict):
        return call
    arguments = function.get("arguments")
    named = {
        **function,
        "name": text(function, "name"),
        "arguments": arguments if isinstance(arguments, str) else as_json(arguments),
    }
    return {**call, "id": text(call, "id") or f"call_{place}", "type": "function", "function": named}


def _usage(counted: Any) -> dict[str, Any] | None:
    """Usage as OpenAI counts it; None unless both sums are known."""
    prompt, answer = tokens(counted, "prompt_tokens"), tokens(counted, "completion_tokens")
    total = tokens(counted, "total_tokens")
    if prompt is None or answer is None:
        return None
    found = {**counted, "prompt_tokens": prompt, "completion_tokens": answer}
    return {**found, "total_tokens": prompt + answer if total is None else total}


class ChatDecoder(JSONEventDecoder):
    """Decodes `data: {chat.completion.chunk}` events up to `data: [DONE]`; see StreamDecoder."""

    def is_end(self, data: bytes) -> bool:
        return data.strip() == b"[DONE]"

    def take(self, event: dict[str, Any]) -> Chunks:
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            if isinstance(delta := choice.get("delta"), dict):
                choice["delta"] = _spoken(delta)
            if "finish_reason" in choice:  # some say "" as long as there is none
                choice["finish_reason"] = _finish(choice["finish_reason"]) if choice["finish_reason"] else None
        return [event]
