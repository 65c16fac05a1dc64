"""Turns JSON bytes into plain data, or refuses them with words a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

from core.errors import InvalidInput

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_ROWS = 100_000


def load_json(data: bytes) -> tuple[Any, list[str]]:
    """The decoded document, with fractions as exact Decimals, and the keys that an object of it repeats."""
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput(f"The file is larger than {MAX_FILE_BYTES // 2**20} MiB.", code="catalogue_too_large")
    repeated: list[str] = []

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            repeated.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return result

    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, parse_float=_exact, parse_constant=_not_a_number, object_pairs_hook=object_of), repeated
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    except ValueError as error:
        raise _malformed("it holds a number that is too long to be meant") from error


def rows_of(value: Iterable[Any], what: str) -> list[Any]:
    """`value` as a list, refused when it is longer than any catalogue is."""
    rows = list(value)
    if len(rows) > MAX_ROWS:
        raise InvalidInput(f"The file has {len(rows)} {what}, more than {MAX_ROWS}.", code="catalogue_too_large")
    return rows


def wrong_shape(format_name: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"This is not a {format_name} catalogue: {expected}.",
        hint="Choose the format that the file has.",
        code="catalogue_shape",
    )


def _exact(digits: str) -> Decimal:
    """A fraction without rounding; one that is absurdly long or far from 1 is a mistake or an attack."""
    if len(digits) > 60 or not -40 <= (value := Decimal(digits)).adjusted() <= 40:
        raise ValueError(digits[:60])
    return value


def _not_a_number(name: str) -> NoReturn:
    raise _malformed(f"{name} is not a JSON number")


def _malformed(why: str) -> InvalidInput:
    return InvalidInput(f"The file is not valid JSON: {why}.", code="catalogue_malformed")
