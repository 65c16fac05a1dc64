"""Embeddings: one text by embedContent, several by batchEmbedContents.

Sources: https://ai.google.dev/api/embeddings, https://ai.google.dev/gemini-api/docs/embeddings
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text, tokens
from providers.dialects.gemini import errors
from providers.dialects.gemini.names import NAME, resource, url
from providers.dialects.vocabulary import bad, count, put, refuse_others, unsupported
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

_KNOWN = frozenset({"input", "dimensions", "encoding_format", "input_type"})


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    inputs, options = wanted(payload, target)
    contents = [{"content": {"parts": [{"text": item}]}, **options} for item in inputs]
    if len(contents) == 1:
        return json_request(url(target, Operation.EMBEDDINGS, "embedContent"), contents[0])
    model = resource(target.upstream_model)
    body = {"requests": [{"model": model, **content} for content in contents]}
    return json_request(url(target, Operation.EMBEDDINGS, "batchEmbedContents"), body)


def wanted(payload: Mapping[str, Any], target: Target) -> tuple[list[str], dict[str, Any]]:
    """The texts, and taskType and outputDimensionality as far as they are given.

    `encoding_format` is how the caller wants the vectors packed; here they always come as numbers.
    """
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    refuse_others(asked, _KNOWN, NAME)
    inputs = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    if not isinstance(inputs, list) or not all(isinstance(item, str | int | list) for item in inputs):
        raise bad("input is neither text nor a list of texts.")
    if not all(isinstance(item, str) for item in inputs):
        raise unsupported("input that is given as tokens", NAME)
    options: dict[str, Any] = {}
    put(options, taskType=asked.get("input_type"), outputDimensionality=count(asked, "dimensions"))
    return inputs, options


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    items = [data["embedding"]] if "embedding" in data else data.get("embeddings")
    if not isinstance(items, list):
        if data.get("error"):
            raise errors.in_success(body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors = [vector_in(item) for item in items]
    if not all(vectors):
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    used = tokens(data.get("usageMetadata"), "promptTokenCount")
    return Embeddings(
        [vector for vector in vectors if vector],
        usage=None if used is None else {"prompt_tokens": used, "total_tokens": used},
        model=text(data, "modelVersion"),
    )


def vector_in(item: Any) -> list[float] | None:
    """The vector that an embedding holds; None for anything else than finite numbers."""
    values = item.get("values") if isinstance(item, dict) else None
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return None
    try:
        vector = [float(value) for value in values]
    except OverflowError:
        return None
    return vector if all(map(math.isfinite, vector)) else None
