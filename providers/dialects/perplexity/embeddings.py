"""Embeddings: OpenAI's call, answered with vectors of signed bytes.

A row that names the path of contextualized embeddings gets those: there a document is a list of chunks, and every text
of the input is a document of one chunk, since nobody says which of them belong together.
Sources: https://docs.perplexity.ai/api-reference/embeddings-post and …/contextualizedembeddings-post
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.openai import embeddings
from providers.dialects.vectors import read_texts
from providers.dialects.vocabulary import put, refuse_others
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

PATH = "/embeddings"
_CONTEXTUALIZED = "/contextualizedembeddings"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    # The answer is read into numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", "dimensions", "encoding_format"}, "perplexity")
    texts = read_texts(asked["input"])
    grouped = target.quirks.path_for(Operation.EMBEDDINGS, PATH) == _CONTEXTUALIZED
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "input": [[text] for text in texts] if grouped else texts,
        "encoding_format": "base64_int8",
    }
    put(body, dimensions=asked.get("dimensions"))
    return json_request(target.url_for(Operation.EMBEDDINGS, PATH), body)


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    return embeddings.parse(headers, body, _signed_bytes)


def _signed_bytes(value: Any) -> list[float] | None:
    """Numbers from -128 to 127; what counts is the direction that they point in."""
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return None
    return [float(number) for number in struct.unpack(f"{len(raw)}b", raw)] or None
