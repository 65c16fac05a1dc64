"""Our own fixtures: what `export_catalog` writes and `loaddata` reads."""

from __future__ import annotations

from typing import Any

from providers.catalog.fields import FACTORY_CHECKS, MODEL_CHECKS
from providers.catalog.reading import load_json, rows_of, wrong_shape
from providers.catalog.records import Level, ParsedCatalogue
from providers.catalog.render import FACTORY_MODEL, LLM_MODEL
from providers.catalog.sheet import Sheet

NAME = "llmadmin"


def parse(data: bytes) -> ParsedCatalogue:
    document, repeated = load_json(data)
    if not isinstance(document, list):
        raise wrong_shape("llmadmin", 'a list of {"model", "fields"} is expected')
    sheet = Sheet(NAME, repeated)
    for index, row in enumerate(rows_of(document, "rows")):
        place = f"row {index + 1}"
        if not isinstance(row, dict) or not isinstance(row.get("fields"), dict):
            sheet.note(Level.REFUSED, place, 'the row is left out: not an object with "model" and "fields"')
            continue
        for key in sorted(set(row) - {"model", "fields"}):
            sheet.ignored(key)
        match row.get("model"):
            case kind if kind == FACTORY_MODEL:
                _factory(sheet, place, row["fields"])
            case kind if kind == LLM_MODEL:
                _model(sheet, place, row["fields"])
            case kind:
                sheet.note(Level.REFUSED, place, f"the row is left out: {str(kind)[:60]!r} is no part of a catalogue")
    return sheet.catalogue()


def _factory(sheet: Sheet, place: str, fields: dict[str, Any]) -> None:
    where = sheet.label(fields.get("name"), fallback=place)
    name = sheet.name(where, "name", fields.get("name"))
    if name is not None:
        sheet.factory(name, _known(sheet, where, fields, FACTORY_CHECKS, {"name"}))


def _model(sheet: Sheet, place: str, fields: dict[str, Any]) -> None:
    key = fields.get("factory")
    factory = key[0] if isinstance(key, list) and len(key) == 1 else None
    where = sheet.label(factory, fields.get("llm_name"), fallback=place)
    if factory is None:
        sheet.note(Level.REFUSED, where, 'the row is left out: factory is not a natural key such as ["OpenAI"]')
        return
    factory, llm_name = sheet.name(where, "factory", factory), sheet.name(where, "llm_name", fields.get("llm_name"))
    if factory is not None and llm_name is not None:
        sheet.model(factory, llm_name, _known(sheet, where, fields, MODEL_CHECKS, {"factory", "llm_name"}))


def _known(sheet: Sheet, where: str, fields: dict[str, Any], known: Any, key: set[str]) -> dict[str, Any]:
    for field in sorted(set(fields) - set(known) - key):
        why = "staff approve networks in the admin" if field == "allowed_networks" else "no field of the catalogue"
        sheet.note(Level.REFUSED, where, f"{field[:60]} is left out: {why}")
    return {field: value for field, value in fields.items() if field in known}
