"""The file formats a catalogue can be read from, by name."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import InvalidInput
from providers.catalog.formats import litellm, llmadmin, models_dev, ragflow
from providers.catalog.reading import load_json
from providers.catalog.records import FactoryRecord, Level, ModelRecord, Note, ParsedCatalogue

PARSERS: dict[str, Callable[[bytes], ParsedCatalogue]] = {
    module.NAME: module.parse for module in (llmadmin, ragflow, litellm, models_dev)
}


def names() -> list[str]:
    return list(PARSERS)


def parse(data: bytes, format_name: str = "") -> ParsedCatalogue:
    """Read a file in the named format (found out when empty); raises InvalidInput when it cannot be read at all."""
    name = format_name or detect(data)
    if name not in PARSERS:
        raise InvalidInput(f"Unknown catalogue format {name!r}.", hint=f"Known: {', '.join(PARSERS)}.")
    return PARSERS[name](data)


def detect(data: bytes) -> str:
    """The format's name, from the shape of the document; raises InvalidInput when it is none that we know."""
    document, _ = load_json(data)
    if isinstance(document, list):
        return llmadmin.NAME
    if isinstance(document, dict):
        if "factory_llm_infos" in document:
            return ragflow.NAME
        rows = [row for row in document.values() if isinstance(row, dict)]
        if any("litellm_provider" in row for row in rows):
            return litellm.NAME
        if any(isinstance(row.get("models"), dict) for row in rows):
            return models_dev.NAME
    raise InvalidInput(
        "The file is JSON, but no catalogue that we know.",
        hint=f"Known formats: {', '.join(PARSERS)}.",
        code="catalogue_shape",
    )


def merged(catalogues: list[ParsedCatalogue]) -> ParsedCatalogue:
    """Several files of one format as one catalogue; a row that two of them have counts once, the first."""
    kinds = {one.format for one in catalogues}
    if len(kinds) != 1:
        raise InvalidInput(f"The files have different formats: {', '.join(sorted(kinds)) or 'there are none'}.")
    factories: dict[str, FactoryRecord] = {}
    models: dict[tuple[str, str], ModelRecord] = {}
    notes = [note for one in catalogues for note in one.notes]
    for one in catalogues:
        for factory in one.factories:
            if factories.setdefault(factory.name, factory) is not factory:
                notes.append(Note(Level.REFUSED, factory.name, "repeated in another file: the first one counts"))
        for model in one.models:
            if models.setdefault((model.factory, model.llm_name), model) is not model:
                where = f"{model.factory} / {model.llm_name}"
                notes.append(Note(Level.REFUSED, where, "repeated in another file: the first one counts"))
    return ParsedCatalogue(kinds.pop(), tuple(factories.values()), tuple(models.values()), tuple(notes))
