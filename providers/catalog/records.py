"""What a catalogue file says, once it has been read: records that hold only what the file states, and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How much attention a note deserves."""

    NORMALISED = "normalised"  # taken, in our spelling
    REFUSED = "refused"  # left out
    INFO = "info"  # taken as it is; worth knowing


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report: `where` names the row ("OpenAI / gpt-4o"), `message` what was done to it and why."""

    level: Level
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class FactoryRecord:
    """A factory as a file states it: a field that is not in `values` is one that the file says nothing about."""

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model as a file states it. Prices are stated together or not at all; `model_types` is a list."""

    factory: str
    llm_name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedCatalogue:
    """A whole file: its format's name, its rows in the file's order, and what there is to say about them."""

    format: str
    factories: tuple[FactoryRecord, ...]
    models: tuple[ModelRecord, ...]
    notes: tuple[Note, ...]
