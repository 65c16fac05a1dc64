"""Embeddings: `predict` with lists of instances, and `embedContent` with the models that the row's quirks name.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api,
https://docs.cloud.google.com/ruby/docs/reference/google-cloud-ai_platform-v1/latest/Google-Cloud-AIPlatform-V1-EmbedContentRequest
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import tokens
from providers.dialects.gemini import embeddings
from providers.dialects.vertex.names import split, url
from providers.dialects.vocabulary import put
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    texts, options = embeddings.wanted(payload, target)
    _, model = split(target)
    if target.quirks.embedding_method(model) != "embedContent":
        return json_request(url(target, Operation.EMBEDDINGS, "predict"), _instances(texts, options))
    contents: list[dict[str, Any]] = [{"content": {"role": "user", "parts": [{"text": text}]}} for text in texts]
    for content in contents:
        put(content, embedContentConfig=options)
    if len(contents) == 1:
        return json_request(url(target, Operation.EMBEDDINGS, "embedContent"), contents[0])
    return json_request(url(target, Operation.EMBEDDINGS, "batchEmbedContents"), {"requests": contents})


def _instances(texts: list[str], options: Mapping[str, Any]) -> dict[str, Any]:
    instances: list[dict[str, Any]] = [{"content": text} for text in texts]
    for instance in instances:
        put(instance, task_type=options.get("taskType"))
    body: dict[str, Any] = {"instances": instances}
    if "outputDimensionality" in options:
        body["parameters"] = {"outputDimensionality": options["outputDimensionality"]}
    return body


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    items = data.get("predictions")
    if not isinstance(items, list):
        return embeddings.parse(headers, body)
    found = [item.get("embeddings") if isinstance(item, dict) else None for item in items]
    vectors = [vector for item in found if (vector := embeddings.vector_in(item))]
    if len(vectors) != len(items) or not vectors:
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    counts = [tokens(item.get("statistics"), "token_count") for item in found if item]
    used = sum(count for count in counts if count is not None)
    known = all(count is not None for count in counts)
    return Embeddings(vectors, usage={"prompt_tokens": used, "total_tokens": used} if known else None)
