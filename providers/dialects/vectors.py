"""Reading vectors: lists of numbers, or Base64 of them."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterable
from typing import Any

from providers.errors import BadRequest, Unsupported


def read_vector(value: Any) -> list[float] | None:
    """A vector of finite floats, from a list or from Base64 of 32-bit floats; None for anything else.

    A model that gives one vector for each token has its vectors averaged.
    """
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
            value = list(struct.unpack(f"<{len(raw) // 4}f", raw))
        except (binascii.Error, struct.error, ValueError):
            return None
    if not isinstance(value, list):
        return None
    if value and isinstance(value[0], list):
        return _mean(value)
    try:
        vector = [float(number) for number in value if type(number) in (int, float)]
    except OverflowError:
        return None
    return vector if len(vector) == len(value) and all(map(math.isfinite, vector)) else None


def _mean(values: Iterable[Any]) -> list[float] | None:
    vectors = [None if _is_nested(value) else read_vector(value) for value in values]
    rows = [vector for vector in vectors if vector]
    if len(rows) != len(vectors) or len({len(row) for row in rows}) != 1:
        return None
    mean = [math.fsum(column) / len(rows) if _small(column) else math.inf for column in zip(*rows, strict=True)]
    return mean if all(map(math.isfinite, mean)) else None


def _small(column: Iterable[float]) -> bool:
    return all(abs(number) < 1e300 for number in column)


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def read_texts(value: Any) -> list[str]:
    """The texts of an embedding's `input`; raises Unsupported for token ids, BadRequest for anything else."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and texts:
        if all(isinstance(text, str) for text in texts):
            return list(texts)
        if all(isinstance(text, int | list) for text in texts):
            raise Unsupported("This upstream embeds texts, not token ids.", hint="Send the text itself.", step="build")
    raise BadRequest("The input is neither a text nor a list of texts.", step="build")
