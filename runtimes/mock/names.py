"""What the name of a model says about it: its kind, its size, and the faults it is to show."""

from __future__ import annotations

import re
import zlib
from dataclasses import asdict, dataclass
from typing import Any

MAX_NAME = 200
_BILLIONS = re.compile(r"(?<![a-z0-9.])(\d{1,4}(?:\.\d{1,3})?)b(?![a-z0-9])", re.I)
_WORDS = re.compile(r"[a-z]+")
_KINDS = (("rerank", re.compile("rerank", re.I)), ("embeddings", re.compile("embed|bge-|minilm", re.I)))
_SEES = re.compile(r"vision|\bvlm?\b", re.I)
_BYTES_A_PARAMETER = 0.5625  # of a file quantised to four bits, with its scales
_SMALLEST_BYTES, _SPREAD_BYTES = 200_000_000, 4_000_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model is. `type` is one of llm, vlm, embeddings, rerank."""

    type: str = "llm"
    max_tokens: int = 4096
    parameters: int | None = None
    coding: bool = False
    tooling: bool = False
    dimensions: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fault:
    """How a model misbehaves: a word of its name that says so, and what then goes wrong."""

    word: str
    does: str


FAULTS = (
    Fault("slow", "takes 0.2 s for each word it says, and ten times as long to install and to load"),
    Fault("missing", "is not where models are fetched from"),
    Fault("failing", "fails half-way through every installation"),
    Fault("flaky", "loses the connection half-way through the first installation; the next one goes on from there"),
    Fault("stalling", "sends nothing more from half-way through its installation"),
    Fault("unloadable", "cannot be loaded"),
    Fault("broken", "answers calls with an error of the server"),
    Fault("busy", "answers calls with “too many requests”"),
    Fault("cut", "breaks off in the middle of a streamed answer"),
    Fault("silent", "takes calls and never answers"),
)

BUILT_IN = {
    "mock-model-0.5B": Kind(max_tokens=2048, parameters=500_000_000),
    "mock-model-7B": Kind(parameters=7_000_000_000, coding=True),
    "mock-model-30B": Kind(max_tokens=8192, parameters=30_000_000_000, coding=True, tooling=True),
    "mock-model-vision": Kind("vlm", parameters=3_000_000_000),
    "mock-model-embeddings": Kind("embeddings", max_tokens=8192, parameters=110_000_000, dimensions=768),
    "mock-model-rerank": Kind("rerank", max_tokens=8192, parameters=110_000_000),
}


def kind_of(name: str) -> Kind:
    """What a model of this name is; the same for the same name, always."""
    if (known := BUILT_IN.get(name)) is not None:
        return known
    type = next((kind for kind, pattern in _KINDS if pattern.search(name)), "vlm" if _SEES.search(name) else "llm")
    return Kind(
        type,
        parameters=_parameters(name),
        coding="cod" in name.lower(),
        tooling="tool" in name.lower(),
        dimensions=768 if type == "embeddings" else None,
    )


def size_bytes(name: str) -> int:
    """How large a model of this name is."""
    parameters = kind_of(name).parameters
    if parameters is not None:
        return round(parameters * _BYTES_A_PARAMETER)
    return _SMALLEST_BYTES + zlib.crc32(name.encode()) % _SPREAD_BYTES


def shows(name: str, word: str) -> bool:
    """Whether a model of this name is to show a fault: one of its words is the fault's."""
    return word in _WORDS.findall(name.lower())


def _parameters(name: str) -> int | None:
    found = _BILLIONS.search(name)
    return None if found is None else round(float(found.group(1)) * 1e9) or None
