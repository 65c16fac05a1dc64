"""Embeddings: texts in, a list of vectors out. Source: https://huggingface.github.io/text-embeddings-inference/"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.tei import paths
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import put, put_same, refuse_others
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

_NATIVE = ("dimensions", "normalize", "prompt_name", "truncate", "truncation_direction")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """The server has one model, so none is named. Where quirks map `input_type`, it is the name of a prompt."""
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    # The answer is numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", "input_type", "encoding_format", *_NATIVE}, "tei")
    body: dict[str, Any] = {"inputs": read_texts(asked["input"])}
    put(body, prompt_name=asked.get("input_type"))
    put_same(body, asked, _NATIVE)
    return json_request(paths.url(target, Operation.EMBEDDINGS, "/embed"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    items = load(headers, body)
    if not isinstance(items, list):
        if isinstance(items, Mapping) and items.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors = [vector for item in items if isinstance(item, list) and (vector := read_vector(item)) is not None]
    if len(vectors) != len(items):
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    return Embeddings(vectors)
