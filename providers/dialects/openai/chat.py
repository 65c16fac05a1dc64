"""Chat completions, whole and streamed.

Sources: https://platform.openai.com/docs/api-reference/chat/create and …/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.streams import JSONEventDecoder
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
    """The reply with the fields that OpenAI's types require; usage stays unknown where it is unknown."""
    reply = {**data, "object": "chat.completion"}
    for name in ("id", "model"):
        if not isinstance(reply.get(name), str):
            reply[name] = str(reply.get(name) or "")
    if not isinstance(reply.get("created"), int):
        reply["created"] = 0
    if not _is_usage(reply.get("usage")):
        reply.pop("usage", None)
    reply["choices"] = [_choice(position, choice) for position, choice in enumerate(data["choices"])]
    return reply


def _choice(position: int, choice: dict[str, Any]) -> dict[str, Any]:
    message = {"content": None, "refusal": None, **choice["message"], "role": "assistant"}
    index = choice.get("index")
    finish = choice.get("finish_reason")
    if finish not in _FINISH:
        finish = _FINISH_ALIASES.get(str(finish).lower(), "stop")
    return {
        "logprobs": None,
        **choice,
        "index": index if isinstance(index, int) else position,
        "finish_reason": finish,
        "message": message,
    }


def _is_usage(usage: Any) -> bool:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return isinstance(usage, dict) and all(isinstance(usage.get(name), int) for name in names)


class ChatDecoder(JSONEventDecoder):
    """Decodes `data: {chat.completion.chunk}` events up to `data: [DONE]`; see StreamDecoder."""

    def is_end(self, data: bytes) -> bool:
        return data.strip() == b"[DONE]"
