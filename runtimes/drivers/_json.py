"""Reading JSON that a runtime sent: every reader takes anything and gives a value of its type, or nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]

MAX_ENTRIES = 10_000
MAX_NUMBER = 2**63 - 1
MAX_TOKENS = 2**31 - 1  # what a model's column holds
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_SIZE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([kmbt]?)\s*", re.I | re.A)
_FRACTION = re.compile(r"(\.\d{6})\d+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def members(value: Any) -> Object:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def entries(value: Any) -> list[Object]:
    """The objects among the first MAX_ENTRIES of a list."""
    return [entry for entry in value[:MAX_ENTRIES] if isinstance(entry, dict)] if isinstance(value, list) else []


def text(value: Any, limit: int = 255) -> str:
    """A string on one line, cut to `limit` characters; "" for anything else."""
    return _CONTROL.sub(" ", value).strip()[:limit] if isinstance(value, str) else ""


def texts(value: Any, limit: int = 255) -> tuple[str, ...]:
    """The strings of a list, each as `text`."""
    return tuple(one for entry in value[:MAX_ENTRIES] if (one := text(entry, limit))) if isinstance(value, list) else ()


def number(value: Any, most: int = MAX_NUMBER) -> int | None:
    """A whole number from 0 to `most`."""
    if isinstance(value, float) and math.isfinite(value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= most else None


def positive(value: Any, most: int = MAX_NUMBER) -> int | None:
    """As `number`; 0 says nothing."""
    return number(value, most) or None


def share(value: Any) -> float | None:
    """A fraction from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(max(float(value), 0.0), 1.0)


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def parameters(value: Any) -> int | None:
    """How many parameters "7.6B" or "22.7M" are."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return positive(round(float(match[1]) * _SIZES[match[2].lower()])) if match else positive(value)


def moment(value: Any) -> datetime | None:
    """A time in RFC 3339, to the nanosecond if need be, or in seconds since the epoch; 1970 and before says nothing."""
    try:
        if isinstance(value, str):
            told = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
            return (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC) if told.year > 1970 else None
        if seconds := positive(value):
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
