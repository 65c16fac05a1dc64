"""Readers of what quirks are made of. Each takes a JSON value and its path, and returns what it stands for.

All raise ValueError that begins with the path of what is wrong. What is None is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from providers.base_urls import check_template, clean_base_url
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for

Reader = Callable[[Any, str], Any]


def members(data: Any, path: str, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """The known members of an object, read; any other is an error."""
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected an object, got {shown(data)}")
    result = {}
    for name, value in data.items():
        if name not in fields:
            raise ValueError(f"{path}.{name}: unknown; known are {', '.join(sorted(fields))}")
        if value is not None:
            result[name] = fields[name](value, f"{path}.{name}")
    return result


def an_object(fields: Mapping[str, Reader]) -> Reader:
    return lambda value, path: members(value, path, fields)


def a_map(key: Reader, item: Reader) -> Reader:
    def read(value: Any, path: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected an object, got {shown(value)}")
        return {key(k, f"{path}.{k}"): item(v, f"{path}.{k}") for k, v in value.items() if v is not None}

    return read


def a_list(item: Reader) -> Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{path}: expected a list, got {shown(value)}")
        return tuple(item(one, f"{path}[{index}]") for index, one in enumerate(value))

    return read


def a_text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{path}: expected a non-empty text, got {shown(value)}")
    return value


def any_text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{path}: expected a text, got {shown(value)}")
    return value


def names(value: Any, path: str) -> frozenset[str]:
    return frozenset(a_list(a_text)(value, path))


def anything(value: Any, path: str) -> Any:
    return value


def a_flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{path}: expected true or false, got {shown(value)}")
    return value


def a_number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{path}: expected a number, got {shown(value)}")
    return value


def a_positive(value: Any, path: str) -> float:
    if a_number(value, path) <= 0:
        raise ValueError(f"{path}: expected a number above 0, got {value}")
    return float(value)


def a_count(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{path}: expected a whole number of at least 1, got {shown(value)}")
    return value


def bounds(value: Any, path: str) -> tuple[float | None, float | None]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{path}: expected [lowest, highest], got {shown(value)}")
    low, high = (None if end is None else a_number(end, f"{path}[{index}]") for index, end in enumerate(value))
    if low is not None and high is not None and low > high:
        raise ValueError(f"{path}: the lowest ({low}) is above the highest ({high})")
    return low, high


def a_path(value: Any, path: str) -> str:
    if value == "":
        return ""
    text = a_text(value, path)
    if not text.startswith("/") or any(mark in text for mark in ("?", "#", "\\", "/../", "//")) or text.endswith("/.."):
        raise ValueError(f"{path}: expected a path such as /v1, got {text!r}")
    return text.rstrip("/")


def a_base_url(value: Any, path: str) -> str:
    return _checked(clean_base_url, value, path)


def a_template(value: Any, path: str) -> str:
    """A base URL with fields in its host."""
    return _checked(check_template, value, path)


def a_place(value: Any, path: str) -> str:
    """A base URL, with or without fields in its host."""
    return a_template(value, path) if isinstance(value, str) and "{" in value else a_base_url(value, path)


def _checked(check: Callable[[str], str], value: Any, path: str) -> str:
    try:
        return check(a_text(value, path))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from None


def an_operation(value: Any, path: str) -> Operation:
    """An operation by its own name, or by that of a model type which it serves."""
    if value in set(Operation):
        return Operation(value)
    if value in set(LLMType):
        return operation_for(value)
    raise ValueError(f"{path}: unknown operation; known are {', '.join(Operation)}")


def a_model_type(value: Any, path: str) -> LLMType:
    if value not in set(LLMType):
        raise ValueError(f"{path}: unknown model type; known are {', '.join(LLMType)}")
    return LLMType(value)


def one_of(*known: str) -> Reader:
    def read(value: Any, path: str) -> str:
        if value not in known:
            raise ValueError(f"{path}: expected one of {', '.join(known)}")
        return str(value)

    return read


def shown(value: Any) -> str:
    """What came instead, for an error."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
