"""Embeddings. Source: https://docs.cohere.com/reference/embed"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.cohere import paths
from providers.dialects.failures import classify_body
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import bad, put, put_same, refuse_others
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

_KINDS = {"document": "search_document", "query": "search_query"}
_NATIVE = ("max_tokens", "priority", "truncate")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    refuse_others(asked, {"input", "input_type", "dimensions", "encoding_format", *_NATIVE}, "cohere")
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "texts": read_texts(asked["input"]),
        "input_type": input_type(asked, payload),
        "embedding_types": ["base64" if asked.get("encoding_format") == "base64" else "float"],
    }
    put(body, output_dimension=asked.get("dimensions"))
    put_same(body, asked, _NATIVE)
    return json_request(paths.url(target, Operation.EMBEDDINGS, "/v2/embed"), body)


def input_type(asked: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """What the texts are for, which must be told: documents that are searched, unless it is said otherwise."""
    kind = asked.get("input_type") or payload.get("input_type") or "document"
    if not isinstance(kind, str):
        raise bad("input_type is not a text.")
    return _KINDS.get(kind, kind)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    found = data.get("embeddings")
    by_type: Mapping[str, Any] = found if isinstance(found, Mapping) else {"float": found}
    items = next((value for name in ("float", "base64") if isinstance(value := by_type.get(name), list)), None)
    if items is None:
        if isinstance(data.get("message"), str) or data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors = [vector for item in items if (vector := read_vector(item)) is not None]
    if len(vectors) != len(items):
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    return Embeddings(vectors, usage=_usage(data.get("meta")))


def _usage(meta: Any) -> dict[str, Any] | None:
    billed = meta.get("billed_units") if isinstance(meta, Mapping) else None
    count = billed.get("input_tokens") if isinstance(billed, Mapping) else None
    if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 2**53:
        return None
    return {"prompt_tokens": int(count), "total_tokens": int(count)}
