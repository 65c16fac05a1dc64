"""Collects the rows of one file: checks each stated field, drops what cannot be taken, and notes every such thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from providers.catalog import checks
from providers.catalog.checks import Check, Refused
from providers.catalog.fields import FACTORY_CHECKS, MODEL_CHECKS
from providers.catalog.records import FactoryRecord, Level, ModelRecord, Note, ParsedCatalogue
from providers.catalog.render import PRICE_FIELDS, plain

_NOTHING = object()
_AMOUNTS = ("input_price", "output_price", "cached_input_price", "price_detail")
_UNPRICED: dict[str, Any] = {**dict.fromkeys(PRICE_FIELDS), "price_detail": {}}


class Sheet:
    """What a format's parser fills row by row; `catalogue()` is the result."""

    def __init__(self, format_name: str, repeated_keys: list[str]) -> None:
        self.format = format_name
        self._factories: dict[str, FactoryRecord] = {}
        self._models: dict[tuple[str, str], ModelRecord] = {}
        self._notes: list[Note] = []
        self._ignored: Counter[str] = Counter()
        for key in repeated_keys[:100]:
            self.note(
                Level.REFUSED, "the file", f"the key {key[:60]!r} is repeated in one object: only the last counts"
            )

    def note(self, level: Level, where: str, message: str) -> None:
        self._notes.append(Note(level, where, message))

    def ignored(self, key: str) -> None:
        """Count a field that this format has and the catalogue does not; reported once, with how often."""
        self._ignored[key] += 1

    def label(self, *names: Any, fallback: str) -> str:
        """How the report calls a row: its names, or its place in the file when it has none."""
        known = [" ".join(name.split())[:140] for name in names if isinstance(name, str) and name.strip()]
        return " / ".join(known) if len(known) == len(names) else fallback

    def name(self, where: str, field: str, value: Any) -> str | None:
        """A required name, or None after the row was refused."""
        name = self._checked(where, value, checks.name, field, f"the row is left out: {field}")
        return None if name is _NOTHING else str(name)

    def factory(self, name: str, stated: Mapping[str, Any]) -> None:
        values = self._values(name, stated, FACTORY_CHECKS)
        record = FactoryRecord(name, values)
        if first := self._factories.get(name):
            self._repeated(name, first.values, values)
        else:
            self._factories[name] = record

    def model(self, factory: str, llm_name: str, stated: Mapping[str, Any]) -> None:
        where = f"{factory} / {llm_name}"
        types = self._checked(
            where, stated.get("model_types"), checks.model_types, "model_types", "the row is left out: model_types"
        )
        if types is _NOTHING:
            return
        others = {field: value for field, value in stated.items() if field != "model_types"}
        values = {"model_types": types, **self._prices(where, self._values(where, others, MODEL_CHECKS))}
        if first := self._models.get((factory, llm_name)):
            self._repeated(where, first.values, values)
        else:
            self._models[factory, llm_name] = ModelRecord(factory, llm_name, values)

    def catalogue(self) -> ParsedCatalogue:
        for key, count in sorted(self._ignored.items()):
            self.note(Level.INFO, "the file", f"the field {key} is not part of a catalogue: left out of {count} rows")
        return ParsedCatalogue(
            self.format, tuple(self._factories.values()), tuple(self._models.values()), tuple(self._notes)
        )

    def _values(self, where: str, stated: Mapping[str, Any], known: Mapping[str, Check]) -> dict[str, Any]:
        checked = {
            field: self._checked(where, value, known[field], field, f"{field} is left out")
            for field, value in stated.items()
        }
        return {field: value for field, value in checked.items() if value is not _NOTHING}

    def _checked(self, where: str, value: Any, check: Check, field: str, refusal: str) -> Any:
        changes: list[str] = []
        try:
            result = check(value, changes)
        except Refused as why:
            self.note(Level.REFUSED, where, f"{refusal}: {why}")
            return _NOTHING
        for change in changes:
            self.note(Level.NORMALISED, where, f"{field}: {change}")
        return result

    def _prices(self, where: str, values: dict[str, Any]) -> dict[str, Any]:
        """A row that states any price states all of them, and whose they are."""
        others = {field: value for field, value in values.items() if field not in PRICE_FIELDS}
        stated = {field: values[field] for field in PRICE_FIELDS if values.get(field) not in (None, "", {})}
        if any(field in stated for field in _AMOUNTS):
            return {**others, **_UNPRICED, "price_source": self.format, **stated}
        if stated:
            self.note(Level.REFUSED, where, f"{', '.join(stated)} left out: without a price they say nothing")
        return others

    def _repeated(self, where: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        differing = [
            f"{field} {_short(first.get(field))} ≠ {_short(second.get(field))}"
            for field in sorted(first.keys() | second.keys())
            if first.get(field) != second.get(field)
        ]
        how = f"differing in {'; '.join(differing)}" if differing else "an equal row"
        self.note(Level.REFUSED, where, f"repeated, {how}: the first one counts")


def _short(value: Any) -> str:
    text = str(plain(value))
    return text if len(text) <= 60 else f"{text[:57]}…"
