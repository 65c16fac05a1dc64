"""Embeddings. Source: https://platform.openai.com/docs/api-reference/embeddings/create"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record, text
from providers.dialects.failures import classify_body
from providers.dialects.vectors import read_vector
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

PATH = "/embeddings"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    body = target.quirks.apply_params(Operation.EMBEDDINGS, {**payload, "model": target.upstream_model})
    return json_request(target.url_for(Operation.EMBEDDINGS, PATH), body)


def parse(
    headers: Mapping[str, str], body: bytes, read: Callable[[Any], list[float] | None] = read_vector
) -> Embeddings:
    """`read` makes a vector of what an entry holds, or None."""
    data = load_object(headers, body)
    items = data.get("data")
    if not isinstance(items, list):
        if data.get("error") or data.get("base_resp"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors: dict[int, list[float]] = {}
    for position, item in enumerate(items):
        entry = _entry(item)
        vector = read(entry.get("embedding", entry.get("embeddings")))
        if vector is None:
            raise unexpected("An embedding is not a list of numbers.", headers, body)
        index = item.get("index")
        vectors[index if type(index) is int else position] = vector
    if len(vectors) != len(items):
        raise unexpected("Two embeddings have the same index.", headers, body)
    return Embeddings([vectors[index] for index in sorted(vectors)], record(data, "usage"), text(data, "model"))


def _entry(item: Any) -> Mapping[str, Any]:
    """What holds the vector of an item: a document of one chunk holds it within its chunk."""
    inner = item.get("data") if isinstance(item, dict) else None
    found = inner[0] if isinstance(inner, list) and len(inner) == 1 else item
    return found if isinstance(found, dict) else {}
