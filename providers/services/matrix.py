"""Which factory can be called for which model type, and how: the catalogue held against what is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from providers import dialects, signers
from providers.catalog import formats
from providers.llm_types import LLMType
from providers.models import LLM, LLMFactory
from providers.quirks import Quirks
from providers.wire import Operation, operation_for

# What a factory's tags say that it offers, also where the catalogue lists no model: tenants add their own.
TYPES_OF_TAGS: Mapping[str, LLMType] = {
    "LLM": LLMType.CHAT,
    "TEXT EMBEDDING": LLMType.EMBEDDING,
    "TEXT RE-RANK": LLMType.RERANK,
    "IMAGE2TEXT": LLMType.IMAGE2TEXT,
    "SPEECH2TEXT": LLMType.SPEECH2TEXT,
    "TTS": LLMType.TTS,
    "OCR": LLMType.OCR,
}
Row = Mapping[str, Any]
Place = tuple[LLMType, str, str, str]  # model type, dialect, signer, why it cannot be called


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One factory, model type, wire format and signer. `problem` says why it cannot be called; "" if it can."""

    factory: str
    model_type: LLMType
    operation: Operation
    dialect: str
    signer: str
    dialect_installed: bool
    signer_installed: bool
    models: int
    problem: str
    declared: bool

    @property
    def callable(self) -> bool:
        return not self.problem

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def from_database() -> list[Cell]:
    """The matrix of the catalogue as it is now, also of what is switched off or hidden."""
    models: dict[int, list[Row]] = {}
    for row in LLM.objects.values("factory_id", "model_types", "quirks"):
        models.setdefault(row["factory_id"], []).append(row)
    rows = LLMFactory.objects.values("pk", "name", "tags", "dialect", "signer", "quirks")
    return matrix((row, models.get(row["pk"], [])) for row in rows)


def from_fixtures() -> list[Cell]:
    """The matrix of the shipped catalogue; needs no database."""
    files = sorted(Path(settings.CATALOG_DIR).glob("*.json"))
    shipped = formats.merged([formats.parse(file.read_bytes()) for file in files])
    models: dict[str, list[Row]] = {}
    for record in shipped.models:
        models.setdefault(record.factory, []).append(record.values)
    return matrix(({**one.values, "name": one.name}, models.get(one.name, [])) for one in shipped.factories)


def matrix(rows: Iterable[tuple[Row, Iterable[Row]]]) -> list[Cell]:
    """The cells of factories with their models, by name and then in the order of the types."""
    cells = [cell for factory, models in rows for cell in _cells(factory, models)]
    order = list(LLMType)
    return sorted(cells, key=lambda cell: (cell.factory.casefold(), order.index(cell.model_type), cell.dialect))


def _cells(factory: Row, models: Iterable[Row]) -> list[Cell]:
    own = Quirks.from_data(factory.get("quirks"))
    default = factory.get("dialect") or "openai"
    counts: dict[Place, int] = {}
    signer = factory.get("signer") or "bearer"

    def place(kind: LLMType, quirks: Quirks) -> Place:
        reason = quirks.uncallable.get(kind, "")
        return kind, quirks.dialect_for(kind) or default, quirks.signers.get(kind) or signer, reason

    for model in models:
        quirks = own.merge(Quirks.from_data(model.get("quirks")))
        for at in (place(LLMType(name), quirks) for name in model["model_types"]):
            counts[at] = counts.get(at, 0) + 1
    for tag in str(factory.get("tags", "")).split(","):
        tagged = TYPES_OF_TAGS.get(tag.strip())
        if tagged is not None and all(kind is not tagged for kind, *_ in counts):
            counts[place(tagged, own)] = 0
    return [_cell(factory["name"], *at, count) for at, count in counts.items()]


def _cell(factory: str, kind: LLMType, dialect: str, signer: str, reason: str, models: int) -> Cell:
    operation = operation_for(kind)
    known, signed = dialects.is_installed(dialect), signers.is_installed(signer)
    problem = reason
    if not problem and not known:
        problem = f"The wire format “{dialect}” is not installed."
    elif not problem and operation not in dialects.operations(dialect):
        problem = f"The wire format “{dialect}” has no call for {kind} models."
    elif not problem and not signed:
        problem = f"The signer “{signer}” is not installed."
    return Cell(factory, kind, operation, dialect, signer, known, signed, models, problem, declared=bool(reason))
