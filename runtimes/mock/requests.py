"""What a chat asks for, checked as OpenAI checks it, with its codes and words: tests against it mean something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtimes.mock.replies import Refused

MAX_CHOICES = 128
MAX_STOPS = 4
ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_MAX_ECHO = 50
_KINDS = {
    bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array", dict: "an object",
    type(None): "null",
}  # fmt: skip
_NUMBERS: dict[str, tuple[type, float, float | None]] = {  # whole or not, from, to
    "temperature": (float, 0, 2),
    "top_p": (float, 0, 1),
    "presence_penalty": (float, -2, 2),
    "frequency_penalty": (float, -2, 2),
    "max_tokens": (int, 1, None),
    "max_completion_tokens": (int, 1, None),
    "n": (int, 1, MAX_CHOICES),
}
_BOOLEANS = ("stream", "parallel_tool_calls", "logprobs")


def check_chat(body: Mapping[str, Any]) -> None:
    """Raises Refused for the first thing that is wrong; null is as good as nothing."""
    messages = body.get("messages")
    if messages is None:
        raise Refused(400, "missing_required_parameter", "Missing required parameter: 'messages'.", "messages")
    if not isinstance(messages, list):
        raise _type("messages", "an array of objects", messages)
    if not messages:
        raise Refused(
            400,
            "empty_array",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
        )
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    for name, (kind, least, most) in _NUMBERS.items():
        if body.get(name) is not None:
            _check_number(name, body[name], kind, least, most)
    for name in _BOOLEANS:
        if not isinstance(body.get(name), bool | None):
            raise _type(name, "a boolean", body[name])
    stop = body.get("stop")
    if not isinstance(stop, str | None) and not (isinstance(stop, list) and all(isinstance(one, str) for one in stop)):
        raise _type("stop", "a string or an array of strings", stop)
    if isinstance(stop, list) and len(stop) > MAX_STOPS:
        raise Refused(
            400,
            "array_above_max_length",
            f"Invalid 'stop': array too long. Expected an array with maximum length {MAX_STOPS}, "
            f"but got an array with length {len(stop)} instead.",
            "stop",
        )


def choices(body: Mapping[str, Any]) -> int:
    """How many answers a checked chat wants."""
    return int(body.get("n") or 1)


def _check_message(place: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _type(place, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise Refused(
            400, "missing_required_parameter", f"Missing required parameter: '{place}.role'.", f"{place}.role"
        )
    if not isinstance(role, str):
        raise _type(f"{place}.role", "a string", role)
    if role not in ROLES:
        known = ", ".join(f"'{one}'" for one in ROLES[:-1])
        raise Refused(
            400,
            "invalid_value",
            f"Invalid value: '{role[:_MAX_ECHO]}'. Supported values are: {known}, and '{ROLES[-1]}'.",
            f"{place}.role",
        )
    if not isinstance(content, str | list | None) or (
        isinstance(content, list) and not all(isinstance(part, dict) for part in content)
    ):
        raise _type(f"{place}.content", "one of a string or an array of objects", content)


def _check_number(name: str, value: Any, kind: type, least: float, most: float | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise _type(name, _KINDS[kind], value)
    word = "integer" if kind is int else "decimal"
    if value < least:
        raise _beyond(name, word, "below", "minimum", f">= {least}", value)
    if most is not None and value > most:
        raise _beyond(name, word, "above", "maximum", f"<= {most}", value)


def _beyond(name: str, word: str, side: str, end: str, expected: str, value: float) -> Refused:
    return Refused(
        400,
        f"{word}_{side}_{end[:3]}_value",
        f"Invalid '{name}': {word} {side} {end} value. Expected a value {expected}, "
        f"but got {str(value)[:_MAX_ECHO]} instead.",
        name,
    )


def _type(name: str, expected: str, value: Any) -> Refused:
    return Refused(
        400,
        "invalid_type",
        f"Invalid type for '{name}': expected {expected}, but got {_KINDS.get(type(value), 'something else')} instead.",
        name,
    )
