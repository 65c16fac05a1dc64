"""How many tokens a text may be, where nobody says: for reservations, and for calls whose upstream did not count.

A token is about four bytes of UTF-8 in the vocabularies in use: four letters of English, one or two of Chinese. No
vocabulary is loaded, so it costs nothing, and it is marked as an estimate wherever it is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from providers.wire import Operation

BYTES_PER_TOKEN = 4
IMAGE_TOKENS = 1_000
LARGE_BYTES = 32 * 1024  # above this, a request is looked into: it may be pictures or sound, which count otherwise
DEFAULT_MAX_OUTPUT = 4_096
GENERATES = frozenset({Operation.CHAT})  # operations whose answer is made of tokens
_OUTPUT = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def tokens_of(text: str) -> int:
    """An estimate, at least 1 for a text that is not empty."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def input_tokens(payload: Mapping[str, Any], size_bytes: int) -> int:
    """Of a request whose body has this size; 0 for a size that is unknown means: look."""
    if 0 < size_bytes <= LARGE_BYTES:
        return -(-size_bytes // BYTES_PER_TOKEN)
    return sum(_weigh(value) for name, value in payload.items() if name not in ("model", "file"))


def max_output_tokens(payload: Mapping[str, Any]) -> int:
    """What the caller allows as the length of all answers together."""
    count = payload.get("n")
    times = count if type(count) is int and 1 <= count <= 128 else 1
    for name in _OUTPUT:
        value = payload.get(name)
        if type(value) is int and value > 0:
            return value * times
    return DEFAULT_MAX_OUTPUT * times


def _weigh(value: Any) -> int:
    total, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            total += IMAGE_TOKENS if one.startswith("data:") else tokens_of(one)
        elif isinstance(one, Mapping):
            if "input_audio" in one:
                total += IMAGE_TOKENS
            else:
                waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            if one and type(one[0]) is int:  # an input of token ids
                total += len(one)
            else:
                waiting.extend(one)
    return total


def streamed_tokens(chunks: Iterable[Mapping[str, Any]]) -> int:
    """Of what a streamed chat has said so far."""
    size = 0
    for chunk in chunks:
        for choice in _list(chunk.get("choices")):
            delta = choice.get("delta") if isinstance(choice, Mapping) else None
            size += _said(delta)
    return -(-size // BYTES_PER_TOKEN)


def _said(delta: Any) -> int:
    if not isinstance(delta, Mapping):
        return 0
    size = 0
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        if isinstance(text := delta.get(name), str):
            size += len(text.encode("utf-8", "surrogatepass"))
    for call in _list(delta.get("tool_calls")):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            size += len(str(function.get("name") or "")) + len(str(function.get("arguments") or ""))
    return size


def _list(value: Any) -> list[Any]:
    """What an upstream should have sent as a list; empty if it did not."""
    return value if isinstance(value, list) else []
