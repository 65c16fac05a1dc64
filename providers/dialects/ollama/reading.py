"""What whole and streamed chats have in common: thoughts, calls, reasons to finish, usage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from providers.dialects import completions


def finish(reason: Any, *, called: bool) -> str:
    """Ollama says "stop" for calls of tools, too."""
    if reason == "length":
        return "length"
    return "tool_calls" if called else "stop"


def thought(message: Mapping[str, Any]) -> str:
    """What servers that imitate Ollama call otherwise is understood as well."""
    return completions.text(message, "thinking") or completions.text(message, "reasoning_content")


def calls(found: Any, seed: str, first: int = 0) -> list[dict[str, Any]]:
    """Tool calls with their arguments as JSON; `first` of them came before. Most servers give them no id."""
    result: list[dict[str, Any]] = []
    for entry in found if isinstance(found, list) else ():
        function = entry.get("function") if isinstance(entry, Mapping) else None
        if not isinstance(function, Mapping):
            continue
        arguments, name = function.get("arguments"), completions.text(function, "name")
        text = arguments if isinstance(arguments, str) else completions.as_json(arguments)
        given = completions.text(entry, "id") or completions.text(function, "id")
        position = first + len(result)
        result.append(completions.call(given or f"call_{_digest(seed, name, str(position))}", name, None))
        result[-1]["function"]["arguments"] = text or "{}"
    return result


def reply_id(seed: str) -> str:
    return f"chatcmpl-{_digest(seed)}"


def _digest(*parts: str) -> str:
    """The same for the same answer, so that a reply is equal however often it is parsed."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


def created(moment: str) -> int:
    """Seconds since 1970; 0 if it is unknown. Ollama writes nanoseconds."""
    try:
        found = datetime.fromisoformat(moment)
        return max(int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()), 0)
    except (ValueError, OverflowError, OSError):
        return 0


def usage(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the last part of an answer. How long things took is not of interest."""
    return completions.usage(completions.tokens(data, "prompt_eval_count"), completions.tokens(data, "eval_count"))


def logprobs(found: Any) -> dict[str, Any] | None:
    entries = [entry for item in found if (entry := _logprob(item))] if isinstance(found, list) else []
    return {"content": entries, "refusal": None} if entries else None


def _logprob(item: Any) -> dict[str, Any] | None:
    value = item.get("logprob") if isinstance(item, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    top = item.get("top_logprobs")
    others = [entry for other in top if (entry := _logprob(other))] if isinstance(top, list) else []
    for other in others:
        del other["top_logprobs"]
    raw = item.get("bytes")
    whole = isinstance(raw, list) and all(type(byte) is int for byte in raw)
    return {
        "token": completions.text(item, "token"),
        "logprob": float(value),
        "bytes": raw if whole else None,
        "top_logprobs": others,
    }
