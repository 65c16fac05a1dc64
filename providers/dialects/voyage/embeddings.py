"""Embeddings of texts by a model that also knows pictures: every input is a list of parts.

Source: https://docs.voyageai.com/reference/multimodal-embeddings-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.openai.embeddings import parse
from providers.dialects.vectors import read_texts
from providers.dialects.vocabulary import put_same, refuse_others
from providers.target import Target
from providers.wire import Operation, UpstreamRequest

__all__ = ["build", "parse"]

PATH = "/multimodalembeddings"
_NATIVE = ("input_type", "output_dimension", "truncation")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    # The answer is read into numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", "encoding_format", *_NATIVE}, "voyage")
    inputs = [{"content": [{"type": "text", "text": text}]} for text in read_texts(asked["input"])]
    body: dict[str, Any] = {"inputs": inputs, "model": target.upstream_model}
    put_same(body, asked, _NATIVE)
    return json_request(target.url_for(Operation.EMBEDDINGS, PATH), body)
