"""Embeddings: all parts of a call become one vector, so a call holds one text.

Source: https://www.volcengine.com/docs/82379/1523520
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record, text
from providers.dialects.failures import classify_body
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

PATH = "/embeddings/multimodal"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    # The answer is read into numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", "dimensions", "instructions", "encoding_format"}, "ark")
    texts = read_texts(asked["input"])
    if len(texts) != 1:
        raise Unsupported("Ark embeds one text in a call.", hint="Send one text at a time.", step="build")
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "input": [{"type": "text", "text": texts[0]}],
        "encoding_format": "float",
    }
    put(body, dimensions=asked.get("dimensions"), instructions=asked.get("instructions"))
    return json_request(target.url_for(Operation.EMBEDDINGS, PATH), body)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    vector = read_vector((record(data, "data") or {}).get("embedding"))
    if not vector:
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no embedding.", headers, body)
    return Embeddings([vector], record(data, "usage"), text(data, "model"))
