"""RAGFlow's conf/llm_factories.json: {"factory_llm_infos": [{"name", "tags", "rank", "url", "llm": [model…]}]}."""

from __future__ import annotations

from typing import Any

from providers.catalog.reading import load_json, rows_of, wrong_shape
from providers.catalog.records import Level, ParsedCatalogue
from providers.catalog.sheet import Sheet

NAME = "ragflow"
_EXPECTED_OF_A_MODEL = {"max_tokens": "taken as unknown", "is_tools": "taken as false", "tags": "taken as empty"}
_FACTORY_KEYS = {"tags", "rank", "status"}
_MODEL_KEYS = {"tags", "max_tokens", "is_tools", "status"}


def parse(data: bytes) -> ParsedCatalogue:
    document, repeated = load_json(data)
    if not isinstance(document, dict) or not isinstance(document.get("factory_llm_infos"), list):
        raise wrong_shape("RAGFlow", 'an object with a list "factory_llm_infos" is expected')
    sheet = Sheet(NAME, repeated)
    for key in sorted(set(document) - {"factory_llm_infos"}):
        sheet.note(Level.REFUSED, "the file", f"the key {key[:60]!r} is unknown")
    for index, row in enumerate(rows_of(document["factory_llm_infos"], "factories")):
        place = f"factory_llm_infos[{index}]"
        if isinstance(row, dict):
            _factory(sheet, place, row)
        else:
            sheet.note(Level.REFUSED, place, "the row is left out: not an object")
    return sheet.catalogue()


def _factory(sheet: Sheet, place: str, row: dict[str, Any]) -> None:
    where = sheet.label(row.get("name"), fallback=place)
    name = sheet.name(where, "name", row.get("name"))
    if name is None:
        if isinstance(row.get("llm"), list):
            sheet.note(Level.REFUSED, where, f"its {len(row['llm'])} models are left out with it")
        return
    stated = {key: row[key] for key in _FACTORY_KEYS if key in row}
    if row.get("logo"):
        stated["logo"] = row["logo"]
    if "url" in row:
        stated["base_url"] = _address(sheet, where, row["url"])
    for key in sorted(set(row) - _FACTORY_KEYS - {"name", "logo", "url", "llm"}):
        sheet.ignored(f"{key} (of a factory)")
    sheet.factory(name, stated)
    models = row.get("llm", [])
    if not isinstance(models, list):
        sheet.note(Level.REFUSED, where, "its models are left out: llm is not a list")
        return
    for index, model in enumerate(rows_of(models, "models")):
        _model(sheet, name, f"{name} / llm[{index}]", model)


def _model(sheet: Sheet, factory: str, place: str, row: Any) -> None:
    if not isinstance(row, dict):
        sheet.note(Level.REFUSED, place, "the row is left out: not an object")
        return
    where = sheet.label(factory, row.get("llm_name"), fallback=place)
    llm_name = sheet.name(where, "llm_name", row.get("llm_name"))
    if llm_name is None:
        return
    stated = {key: row[key] for key in _MODEL_KEYS if key in row}
    if "model_type" in row:
        stated["model_types"] = row["model_type"]
    for key, meaning in _EXPECTED_OF_A_MODEL.items():
        if key not in row:
            sheet.note(Level.INFO, where, f"{key} is missing: {meaning} in a new row, kept in one that exists")
    for key in sorted(set(row) - _MODEL_KEYS - {"llm_name", "model_type"}):
        sheet.ignored(f"{key} (of a model)")
    sheet.model(factory, llm_name, stated)


def _address(sheet: Sheet, where: str, url: Any) -> Any:
    """Some releases write one address, others {"default": …, "intl": …}."""
    if not isinstance(url, dict):
        return url
    for key in sorted(set(url) - {"default"}):
        sheet.note(Level.REFUSED, where, f"url: only the default address is taken, not {key}")
    return url.get("default", "")
