"""Reranking. Source: https://huggingface.github.io/text-embeddings-inference/"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load, unexpected
from providers.dialects.openai import rerank
from providers.dialects.tei import paths
from providers.dialects.vocabulary import bad, put, refuse_others
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest

_NATIVE = ("raw_scores", "truncate", "truncation_direction")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """Every document gets a score, best first, however few of them `top_n` asks for."""
    require(payload, "query", "documents")
    asked = target.quirks.apply_params(Operation.RERANK, payload)
    refuse_others(asked, {"query", "documents", "top_n", "return_documents", *_NATIVE}, "tei")
    documents = asked["documents"]
    if not isinstance(asked["query"], str) or not isinstance(documents, list):
        raise bad("The query is a text, and the documents are a list of texts.")
    if not all(isinstance(document, str) for document in documents):
        raise bad("A document is not a text.")
    body: dict[str, Any] = {"query": asked["query"], "texts": documents}
    put(body, **{name: asked.get(name) for name in _NATIVE})
    return json_request(paths.url(target, Operation.RERANK, "/rerank"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    if not isinstance(load(headers, body), list):
        raise unexpected("The answer holds no scores.", headers, body)
    return rerank.parse(headers, body)
