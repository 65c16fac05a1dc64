"""Embeddings. Source: https://docs.ollama.com/api/embed"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.ollama import paths
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import put_same, refuse_others
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

_NATIVE = ("dimensions", "keep_alive", "options", "truncate")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    # The answer is numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", "encoding_format", *_NATIVE}, "ollama")
    body: dict[str, Any] = {"model": target.upstream_model, "input": read_texts(asked["input"])}
    put_same(body, asked, _NATIVE)
    return json_request(paths.url(target, Operation.EMBEDDINGS, "/api/embed"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    items = data.get("embeddings")
    if not isinstance(items, list):
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors = [vector for item in items if (vector := read_vector(item)) is not None]
    if len(vectors) != len(items):
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    count = completions.tokens(data, "prompt_eval_count")
    usage = None if count is None else {"prompt_tokens": count, "total_tokens": count}
    return Embeddings(vectors, usage=usage, model=completions.text(data, "model"))
