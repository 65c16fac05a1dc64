"""What importing a catalogue would do: a three-way comparison of the file, the database and the last import.

A field whose value is still what the last import wrote follows the file. One that is not was edited by an operator and
is kept, unless the operator's edits are to be overwritten. Rows that the file no longer has are reported and stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.catalog.records import Level, Note, ParsedCatalogue
from providers.catalog.render import PRICE_FIELDS, plain
from providers.catalog.secrecy import unveiled

Key = tuple[str, ...]  # (factory,) or (factory, model)
OPERATOR = "operator"  # the price_source of a price that a person has set
_NOT_COMPARED = {"priced_at"}


@dataclass(frozen=True, slots=True)
class Current:
    """A row as the database has it."""

    values: Mapping[str, Any]
    imported: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    field: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class RowDiff:
    """One row and what is said of it: the fields that change (or are kept), or, for a new row, what it will hold."""

    key: Key
    fields: tuple[FieldChange, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "factory" if len(self.key) == 1 else "model"

    @property
    def name(self) -> str:
        return " / ".join(self.key)

    def to_json(self) -> dict[str, Any]:
        fields = [{"field": one.field, "old": plain(one.old), "new": plain(one.new)} for one in self.fields]
        key = list(self.key)
        return {"kind": self.kind, "name": self.name, "key": key, "fields": fields, "values": plain(self.values)}


@dataclass(frozen=True, slots=True)
class CatalogDiff:
    """What an import would do, row by row. `fingerprint` changes when anything that it shows does."""

    catalogue: ParsedCatalogue
    overwrite: bool
    retire: bool
    added: tuple[RowDiff, ...]
    changed: tuple[RowDiff, ...]
    kept: tuple[RowDiff, ...]
    removed: tuple[RowDiff, ...]
    unchanged: int
    notes: tuple[Note, ...]

    @property
    def format(self) -> str:
        return self.catalogue.format

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing that anybody sees."""
        return not (self.added or self.changed or self.retired)

    @property
    def retired(self) -> tuple[RowDiff, ...]:
        """The rows that will be switched off."""
        return tuple(row for row in self.removed if row.fields)

    @property
    def summary(self) -> dict[str, int]:
        counts = {name: len(getattr(self, name)) for name in ("added", "changed", "kept", "removed")}
        return {**counts, "unchanged": self.unchanged, "notes": len(self.notes)}

    @property
    def fingerprint(self) -> str:
        shown = [[row.to_json() for row in rows] for rows in (self.added, self.changed, self.kept, self.removed)]
        text = json.dumps([self.format, self.overwrite, self.retire, self.unchanged, shown], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        rows = {
            name: [row.to_json() for row in getattr(self, name)] for name in ("added", "changed", "kept", "removed")
        }
        notes = [{"level": str(note.level), "where": note.where, "message": note.message} for note in self.notes]
        options = {"format": self.format, "overwrite": self.overwrite, "retire": self.retire}
        return {**options, "summary": self.summary, **rows, "notes": notes, "fingerprint": self.fingerprint}

    def lines(self) -> Iterator[str]:
        """The report for a terminal, line by line; the notes come first, the summary last."""
        yield from (str(note) for note in self.notes)
        for sign, rows, remark in (
            ("+", self.added, ""),
            ("~", self.changed, ""),
            ("=", self.kept, " (edited here: kept)"),
            ("-", self.removed, " (not in the file: switched off)" if self.retire else " (not in the file: stays)"),
        ):
            for row in rows:
                yield f"{sign} {row.kind} {row.name}{remark}"
                yield from (f"    {one.field}: {_text(one.old)} → {_text(one.new)}" for one in row.fields)
        yield f"{self.format}: {', '.join(f'{count} {name}' for name, count in self.summary.items())}"


def compare(
    catalogue: ParsedCatalogue, current: Mapping[Key, Current], *, overwrite: bool = False, retire: bool = False
) -> CatalogDiff:
    """The difference that an import would make to `current`."""
    stated, notes = _stated(catalogue, current)
    added: list[RowDiff] = []
    changed: list[RowDiff] = []
    kept: list[RowDiff] = []
    unchanged = 0
    for key, values in stated.items():
        row = current.get(key)
        if row is None:
            added.append(RowDiff(key, values=values))
            continue
        changes, edits = _fields(values, row, overwrite)
        if changes:
            changed.append(RowDiff(key, changes))
        if edits:
            kept.append(RowDiff(key, edits))
        unchanged += not (changes or edits)
    removed = [
        RowDiff(key, (FieldChange("status", "1", "0"),) if retire and current[key].values["status"] == "1" else ())
        for key in _missing(catalogue, stated, current)
    ]
    return CatalogDiff(
        catalogue,
        overwrite,
        retire,
        tuple(added),
        tuple(changed),
        tuple(kept),
        tuple(removed),
        unchanged,
        (*catalogue.notes, *notes),
    )


def base_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a row remembers of an import. Prices are not remembered: their source says whose they are."""
    return {name: plain(value) for name, value in values.items() if name not in PRICE_FIELDS}


def _stated(
    catalogue: ParsedCatalogue, current: Mapping[Key, Current]
) -> tuple[dict[Key, Mapping[str, Any]], list[Note]]:
    """Every row of the file that can be stored: a model needs its factory here or there."""
    stated: dict[Key, Mapping[str, Any]] = {}
    notes = []
    for one in catalogue.factories:
        values, row = dict(one.values), current.get((one.name,))
        if row and (names := unveiled(row.values.get("credential_fields", ()), values.get("credential_fields", ()))):
            del values["credential_fields"]
            refused = f"credential_fields: a secret stays one ({', '.join(names)}); the field keeps its value"
            notes.append(Note(Level.REFUSED, one.name, refused))
        stated[one.name,] = values
    for model in catalogue.models:
        if (model.factory,) in stated or (model.factory,) in current:
            stated[model.factory, model.llm_name] = model.values
        else:
            where = f"{model.factory} / {model.llm_name}"
            notes.append(Note(Level.REFUSED, where, "the row is left out: the catalogue has no such factory"))
    return stated, notes


def _fields(
    values: Mapping[str, Any], row: Current, overwrite: bool
) -> tuple[tuple[FieldChange, ...], tuple[FieldChange, ...]]:
    changes: list[FieldChange] = []
    edits: list[FieldChange] = []
    for name, new in values.items():
        old = row.values[name]
        if name in _NOT_COMPARED or plain(old) == plain(new):
            continue
        if name in PRICE_FIELDS:
            edited = row.values["price_source"] == OPERATOR
        else:
            edited = name not in row.imported or row.imported[name] != plain(old)
        (edits if edited and not overwrite else changes).append(FieldChange(name, old, new))
    return tuple(changes), tuple(edits)


def _missing(catalogue: ParsedCatalogue, stated: Mapping[Key, Any], current: Mapping[Key, Current]) -> list[Key]:
    """Rows that came from this format and are gone from it.

    A file speaks for the models of the factories it names. It speaks for the list of factories only when it names
    several: the file of one factory says nothing about the others.
    """
    named = {one.name for one in catalogue.factories} | {one.factory for one in catalogue.models}
    whole = len(catalogue.factories) > 1
    return [
        key
        for key, row in current.items()
        if row.source == catalogue.format and key not in stated and (whole or (len(key) == 2 and key[0] in named))
    ]


def _text(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"
