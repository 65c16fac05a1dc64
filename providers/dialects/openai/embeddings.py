"""Embeddings. Source: https://platform.openai.com/docs/api-reference/embeddings/create"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.vectors import read_vector
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

PATH = "/embeddings"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    body = target.quirks.apply_params(Operation.EMBEDDINGS, {**payload, "model": target.upstream_model})
    return json_request(target.url_for(Operation.EMBEDDINGS, PATH), body)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    items = data.get("data")
    if not isinstance(items, list):
        if data.get("error") or data.get("base_resp"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors: dict[int, list[float]] = {}
    for position, item in enumerate(items):
        index = item.get("index") if isinstance(item, dict) else None
        vector = read_vector(item.get("embedding", item.get("embeddings"))) if isinstance(item, dict) else None
        if vector is None:
            raise unexpected("An embedding is not a list of numbers.", headers, body)
        vectors[index if isinstance(index, int) and not isinstance(index, bool) else position] = vector
    if len(vectors) != len(items):
        raise unexpected("Two embeddings have the same index.", headers, body)
    usage, model = data.get("usage"), data.get("model")
    return Embeddings(
        [vectors[index] for index in sorted(vectors)],
        usage=usage if isinstance(usage, dict) else None,
        model=model if isinstance(model, str) else "",
    )
