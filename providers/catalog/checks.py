"""Checks and normalises one field's value; every change and every refusal is noted with the row's name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from providers.base_urls import clean_base_url
from providers.catalog.render import plain
from providers.llm_types import LLMType

NAME_LENGTH, TEXT_LENGTH, URL_LENGTH, LOGO_LENGTH = 128, 255, 255, 256 * 1024
LARGEST_INTEGER = 2**31 - 1
LARGEST_PRICE, PRICE_STEP = Decimal(10) ** 8, Decimal("0.000001")
TYPE_NAMES = {"vision": "image2text", "asr": "speech2text", "reranker": "rerank"}


class Refused(ValueError):
    """A value that cannot be taken; the text says why."""


Changes = list[str]  # what was written otherwise than it stood
Check = Callable[[Any, Changes], Any]


def text(value: Any, changes: Changes, *, length: int = TEXT_LENGTH) -> str:
    if not isinstance(value, str):
        raise Refused(f"{shown(value)} is not a text")
    stripped = value.strip()
    if stripped != value:
        changes.append("surrounding spaces removed")
    if len(stripped) > length:
        raise Refused(f"longer than {length} characters")
    if stripped and not stripped.isprintable():
        raise Refused("has control characters")
    return stripped


def name(value: Any, changes: Changes) -> str:
    cleaned = text(value, changes, length=NAME_LENGTH)
    if not cleaned:
        raise Refused("is empty")
    return cleaned


def tags(value: Any, changes: Changes) -> str:
    """Comma-separated without spaces or empty parts."""
    if not isinstance(value, str):
        raise Refused(f"{shown(value)} is not a text")
    cleaned = text(",".join(part.strip() for part in value.split(",") if part.strip()), [])
    if cleaned != value:
        changes.append(f"{shown(value)} written as {shown(cleaned)}")
    return cleaned


def integer(value: Any, changes: Changes) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,12}\s*", value):
        changes.append(f"the text {shown(value)} taken as a number")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Refused(f"{shown(value)} is not a whole number")
    if not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise Refused("absurdly large")
    if isinstance(value, Decimal):
        if value != value.to_integral_value():
            raise Refused(f"{value} is not a whole number")
        changes.append(f"{value} taken as {int(value)}")
    return int(value)


def max_tokens(value: Any, changes: Changes) -> int | None:
    if value is None:
        return None
    number = integer(value, changes)
    if number < 0:
        raise Refused(f"{number} is negative")
    if number == 0:
        changes.append("0 taken as unknown")
    return number or None


def flag(value: Any, changes: Changes) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"{shown(value)} is neither true nor false")
    return value


def status(value: Any, changes: Changes) -> str:
    if isinstance(value, int) and value in (0, 1):
        changes.append(f"the number {int(value)} taken as a text")
        return str(int(value))
    if value not in ("0", "1"):
        raise Refused(f'{shown(value)} is neither "1" nor "0"')
    return str(value)


def model_types(value: Any, changes: Changes) -> list[str]:
    """Our names of the types, without repetitions; the first stays first."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise Refused(f"{shown(value)} is not a type or a list of types")
    kinds: list[str] = []
    for part in (raw.strip() for raw in parts):
        kind = TYPE_NAMES.get(part, part)
        if kind not in set(LLMType):
            raise Refused(f"{shown(part)} is no known type")
        if kind != part:
            changes.append(f"{part} is our {kind}")
        if kind not in kinds:
            kinds.append(kind)
    if not kinds:
        raise Refused("no type is given")
    if isinstance(value, list):
        changes.append(f"the list kept as {','.join(kinds)} (first is primary)" if kinds[1:] else "a list of one")
    return kinds


def url(value: Any, changes: Changes) -> str:
    address = text(value, changes, length=URL_LENGTH)
    if not address:
        return ""
    try:
        cleaned = clean_base_url(address)
    except ValueError as error:
        raise Refused(str(error)) from error
    if cleaned != address:
        changes.append(f"written as {cleaned}")
    return cleaned


def web_page(value: Any, changes: Changes) -> str:
    page = text(value, changes, length=200)
    if page and not re.match(r"https?://[^/\s@]+(/\S*)?$", page):
        raise Refused(f"{shown(page)} is not a web address")
    return page


def slug(value: Any, changes: Changes) -> str:
    cleaned = text(value, changes, length=64)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", cleaned):
        raise Refused(f"{shown(value)} is not a short name without spaces")
    return cleaned


def price(value: Any, changes: Changes) -> Decimal | None:
    """USD per million tokens, to the millionth of a dollar."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(\.\d{1,18})?", value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Refused(f"{shown(value)} is not a price")
    if value < 0:
        raise Refused(f"{value} is negative")
    if value >= LARGEST_PRICE:
        raise Refused("absurdly large")
    exact = Decimal(value)
    rounded = exact.quantize(PRICE_STEP)
    if rounded != exact:
        changes.append(f"{exact} rounded to {plain(rounded)}")
    return rounded


def moment(value: Any, changes: Changes) -> datetime | None:
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Refused(f"{shown(value)} is not a date and time") from error
    if parsed.tzinfo is None:
        raise Refused("has no time zone")
    return parsed


def short(value: Any, changes: Changes) -> str:
    return text(value, changes, length=64)


def suffix(value: Any, changes: Changes) -> str:
    return text(value, changes, length=32)


def logo(value: Any, changes: Changes) -> str:
    return text(value, changes, length=LOGO_LENGTH)


def shown(value: Any) -> str:
    """A value as a report quotes it: short, and on one line."""
    dumped = json.dumps(plain(value), default=str)
    return dumped if len(dumped) <= 60 else f"{dumped[:57]}…"
