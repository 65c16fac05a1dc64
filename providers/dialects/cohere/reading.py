"""What whole and streamed chats have in common: texts, calls, reasons to finish, usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.errors import ServerFailed, TimedOut

_FINISH = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "USER_CANCEL": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
}


def inner(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside, {} for anything else."""
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def finish(reason: Any) -> str:
    return _FINISH.get(str(reason).upper(), "stop")


def check_finish(reason: Any, said: Any = None) -> None:
    """Raise the error that a failed generation ends with."""
    detail = completions.text(said, "error")
    words = f" It says: “{detail[:300]}”" if detail else ""
    if str(reason).upper() == "ERROR":
        raise ServerFailed(f"The upstream failed while it was generating.{words}", step="body", detail=detail[:300])
    if str(reason).upper() == "TIMEOUT":
        raise TimedOut(f"The upstream ran out of time while it was generating.{words}", step="body")


def spoken(content: Any) -> tuple[str, str]:
    """The text and the thoughts of a message's content, which is a list of blocks."""
    if isinstance(content, str):
        return content, ""
    blocks = [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []
    texts = "".join(completions.text(block, "text") for block in blocks)
    return texts, "".join(completions.text(block, "thinking") for block in blocks)


def calls(found: Any) -> list[dict[str, Any]]:
    """The tool calls, whose arguments are JSON on both sides."""
    entries = [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []
    return [call(entry, "{}") for entry in entries if isinstance(entry.get("function"), Mapping)]


def call(entry: Mapping[str, Any], no_arguments: str = "") -> dict[str, Any]:
    function = entry["function"]
    arguments = completions.text(function, "arguments") or no_arguments
    named = {"name": completions.text(function, "name"), "arguments": arguments}
    return {"id": completions.text(entry, "id"), "type": "function", "function": named}


def usage(data: Any) -> dict[str, Any] | None:
    """What is billed, or else what was counted. Both are numbers such as 12.0."""
    if not isinstance(data, Mapping):
        return None
    for name in ("billed_units", "tokens"):
        sent, received = _count(data.get(name), "input_tokens"), _count(data.get(name), "output_tokens")
        if sent is not None and received is not None:
            return completions.usage(sent, received, prompt_cached_tokens=_count(data, "cached_tokens"))
    return None


def _count(data: Any, name: str) -> int | None:
    value = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(value, float) and value.is_integer() and 0 <= value < 2**53:
        return int(value)
    return completions.tokens(data, name)


def logprobs(data: Any) -> dict[str, Any] | None:
    """One entry for each piece of text; a piece of several tokens is as likely as all of them together."""
    pieces = [data] if isinstance(data, Mapping) else data
    if not isinstance(pieces, list):
        return None
    content = [entry for piece in pieces if (entry := _logprob(piece)) is not None]
    return {"content": content, "refusal": None} if content else None


def _logprob(piece: Any) -> dict[str, Any] | None:
    values = piece.get("logprobs") if isinstance(piece, Mapping) else None
    if not isinstance(values, list) or not values or not all(type(value) in (int, float) for value in values):
        return None
    text = completions.text(piece, "text")
    return {"token": text, "logprob": float(sum(values)), "bytes": list(text.encode()), "top_logprobs": []}
