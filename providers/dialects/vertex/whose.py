"""Whether an answer is in Anthropic's words or in Google's: Anthropic's objects have a type, Google's have none."""

from __future__ import annotations

from typing import Any

from providers.dialects.bodies import loads


def is_anthropics(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("type"), str)


def body_is_anthropics(body: bytes) -> bool:
    try:
        return is_anthropics(loads(body))
    except ValueError:
        return False
