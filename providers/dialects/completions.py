"""Writing replies in OpenAI's vocabulary: completions, chunks and usage.

Sources: https://platform.openai.com/docs/api-reference/chat/object and …/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import to_json

_OBJECT = (dict, Mapping)  # what nearly all are comes first: to be told from others by their class costs more


def completion(
    *,
    id: str,
    model: str,
    choices: list[dict[str, Any]],
    usage: dict[str, Any] | None,
    created: int = 0,
    service_tier: str = "",
) -> dict[str, Any]:
    """A chat completion; usage and a service tier that are unknown are left out."""
    reply = {"id": id, "object": "chat.completion", "created": created, "model": model, "choices": choices}
    if usage is not None:
        reply["usage"] = usage
    return {**reply, "service_tier": service_tier} if service_tier else reply


def choice(index: int, message: Mapping[str, Any], finish_reason: str, logprobs: Any = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **message}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def chunk(
    head: Mapping[str, Any],
    index: int,
    delta: Mapping[str, Any],
    finish_reason: str | None = None,
    logprobs: Any = None,
) -> dict[str, Any]:
    """A piece of a streamed completion; `head` holds id and model."""
    one = {"index": index, "delta": dict(delta), "logprobs": logprobs, "finish_reason": finish_reason}
    return {**head, "object": "chat.completion.chunk", "created": 0, "choices": [one]}


def usage_chunk(head: Mapping[str, Any], usage: Mapping[str, Any], service_tier: str = "") -> dict[str, Any]:
    """The last piece, which has no choice."""
    piece = {**head, "object": "chat.completion.chunk", "created": 0, "choices": [], "usage": dict(usage)}
    return {**piece, "service_tier": service_tier} if service_tier else piece


def call(id: str, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call with its arguments as JSON."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": as_json(arguments)}}


def as_json(value: Any) -> str:
    return to_json(value if value is not None else {}).decode()


def usage(
    prompt: int | None, completion: int | None, *, total: int | None = None, **details: int | None
) -> dict[str, Any] | None:
    """Usage whose details are named prompt_… and completion_…; None unless both sums are known."""
    if prompt is None or completion is None:
        return None
    found: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
    }
    for side in ("prompt", "completion"):
        inner = {
            name.removeprefix(f"{side}_"): value
            for name, value in details.items()
            if value is not None and name.startswith(f"{side}_")
        }
        if inner:
            found[f"{side}_tokens_details"] = inner
    return found


def tokens(data: Any, name: str) -> int | None:
    """A count of tokens; None for anything that is not one."""
    value = data.get(name) if isinstance(data, _OBJECT) else None
    return value if type(value) is int and value >= 0 else None


def text(data: Any, name: str) -> str:
    """A text; "" for anything that is not one."""
    value = data.get(name) if isinstance(data, _OBJECT) else None
    return value if isinstance(value, str) else ""


def record(data: Any, name: str) -> dict[str, Any] | None:
    """An object; None for anything that is not one."""
    value = data.get(name) if isinstance(data, _OBJECT) else None
    return value if isinstance(value, dict) else None
