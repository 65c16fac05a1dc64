"""Embeddings by InvokeModel, whose body is the model's own: Titan's takes one text, Cohere's up to 96.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
…/userguide/model-parameters-embed.html, …/APIReference/API_runtime_InvokeModel.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bedrock.paths import NAME, family, url
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.cohere.embeddings import input_type
from providers.dialects.completions import tokens
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import put, refuse_others, unsupported
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest

_COUNT = "x-amzn-bedrock-input-token-count"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    refuse_others(asked, {"input", "input_type", "dimensions", "encoding_format", "truncate", "normalize"}, NAME)
    model, texts = family(target.upstream_model), read_texts(asked["input"])
    if model.startswith("amazon.titan-embed-text-"):
        body = _titan(asked, texts, sizes=not model.startswith("amazon.titan-embed-text-v1"))
    elif model.startswith("cohere.embed-"):
        body = _cohere(asked, payload, texts, sizes=not model.endswith("-v3"))
    else:
        raise Unsupported(
            "How this model embeds is not known.",
            hint="Use a model whose id begins with amazon.titan-embed-text or cohere.embed.",
            step="build",
        )
    return json_request(url(target, Operation.EMBEDDINGS, "invoke"), body)


def _titan(asked: Mapping[str, Any], texts: list[str], *, sizes: bool) -> dict[str, Any]:
    if len(texts) != 1:
        raise Unsupported("This model embeds one text in a call.", hint="Send the texts one by one.", step="build")
    refuse_others({name: asked.get(name) for name in ("truncate",)}, (), NAME)
    body: dict[str, Any] = {"inputText": texts[0]}
    put(body, dimensions=asked.get("dimensions"), normalize=asked.get("normalize"))
    if len(body) > 1 and not sizes:
        raise unsupported("dimensions or normalize for this model", NAME)
    return body


def _cohere(asked: Mapping[str, Any], payload: Mapping[str, Any], texts: list[str], *, sizes: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"texts": texts, "input_type": input_type(asked, payload), "embedding_types": ["float"]}
    if not sizes and asked.get("dimensions") is not None:
        raise unsupported("dimensions for this model", NAME)
    refuse_others({name: asked.get(name) for name in ("normalize",)}, (), NAME)
    put(body, output_dimension=asked.get("dimensions"), truncate=asked.get("truncate"))
    return body


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = load_object(headers, body)
    if "embedding" in data:
        items: Any = [data["embedding"]]
    else:
        found = data.get("embeddings")
        items = found.get("float") if isinstance(found, Mapping) else found
    if not isinstance(items, list) or not items:
        raise unexpected("The answer holds no embeddings.", headers, body)
    vectors = [vector for item in items if isinstance(item, list) and (vector := read_vector(item))]
    if len(vectors) != len(items):
        raise unexpected("An embedding is not a list of numbers.", headers, body)
    return Embeddings(vectors, usage=_usage(headers, data))


def _usage(headers: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any] | None:
    count = tokens(data, "inputTextTokenCount")
    said = headers.get(_COUNT, "")
    if count is None and said.isascii() and said.isdigit() and len(said) < 16:
        count = int(said)
    return None if count is None else {"prompt_tokens": count, "total_tokens": count}
