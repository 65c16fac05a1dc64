"""Vectors and scores as callers do arithmetic with them: numpy's arrays where numpy is installed, else lists that
answer to `tolist` and `shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any


class Numbers(list[float]):
    """A list that looks like an array of one dimension."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    def tolist(self) -> list[float]:
        return list(self)


class Rows(list[Numbers]):
    """A list that looks like an array of two dimensions."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), len(self[0]) if self else 0)

    def tolist(self) -> list[list[float]]:
        return [row.tolist() for row in self]


@cache
def _numpy() -> Any:
    try:
        return import_module("numpy")
    except ImportError:
        return None


def numbers(values: Sequence[float]) -> Any:
    numpy = _numpy()
    return Numbers(values) if numpy is None else numpy.array(values, dtype=float)


def rows(values: Sequence[Sequence[float]]) -> Any:
    """Raises ValueError, with numpy, for rows that differ in length."""
    numpy = _numpy()
    return Rows(Numbers(row) for row in values) if numpy is None else numpy.array(values, dtype=float)
