"""Perplexity's embeddings: OpenAI's call, answered with vectors of signed bytes. Its chat is OpenAI's format.

Source: https://docs.perplexity.ai/api-reference/embeddings-post
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder, json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.openai import errors
from providers.dialects.vectors import read_texts
from providers.dialects.vocabulary import put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Embeddings, Operation, Reply, UpstreamRequest


class Perplexity:
    name = "perplexity"
    operations = frozenset({Operation.EMBEDDINGS})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        self._check(operation)
        require(payload, "input")
        asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
        # The answer is read into numbers in any case, so the encoding makes no difference.
        refuse_others(asked, {"input", "dimensions", "encoding_format"}, self.name)
        body: dict[str, Any] = {"model": target.upstream_model, "input": read_texts(asked["input"])}
        put(body, dimensions=asked.get("dimensions"))
        body["encoding_format"] = "base64_int8"
        return json_request(target.url_for(Operation.EMBEDDINGS, "/embeddings"), body)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        data = load_object(headers, body)
        items = data.get("data")
        if not isinstance(items, list):
            if data.get("error"):
                raise classify_body(200, body)
            raise unexpected("The answer holds no embeddings.", headers, body)
        vectors = {position: vector for item in items if (found := _entry(item)) for position, vector in [found]}
        if len(vectors) != len(items):
            raise unexpected("An embedding has no index of its own, or is not Base64.", headers, body)
        usage, model = data.get("usage"), data.get("model")
        return Embeddings(
            [vectors[position] for position in sorted(vectors)],
            usage=usage if isinstance(usage, dict) else None,
            model=model if isinstance(model, str) else "",
        )

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


def _entry(item: Any) -> tuple[int, list[float]] | None:
    """The position and the vector, each number from -128 to 127; what counts is its direction."""
    if not isinstance(item, Mapping) or type(position := item.get("index")) is not int:
        return None
    text = item.get("embedding")
    if not isinstance(text, str):
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return position, [float(number) for number in struct.unpack(f"{len(raw)}b", raw)]


DIALECT: Dialect = Perplexity()
