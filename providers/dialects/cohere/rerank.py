"""Reranking. Source: https://docs.cohere.com/reference/rerank"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object
from providers.dialects.cohere import paths
from providers.dialects.failures import classify_body
from providers.dialects.openai import rerank
from providers.dialects.vocabulary import bad, put, refuse_others
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest

_NATIVE = ("max_tokens_per_doc", "priority")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "query", "documents")
    asked = target.quirks.apply_params(Operation.RERANK, payload)
    # A ranking is positions and scores, so whether the documents come back with it makes no difference.
    refuse_others(asked, {"query", "documents", "top_n", "return_documents", *_NATIVE}, "cohere")
    if not isinstance(asked["query"], str) or not isinstance(asked["documents"], list):
        raise bad("The query is a text, and the documents are a list of texts.")
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "query": asked["query"],
        "documents": [_text(document) for document in asked["documents"]],
    }
    put(body, top_n=asked.get("top_n"), **{name: asked.get(name) for name in _NATIVE})
    return json_request(paths.url(target, Operation.RERANK, "/v2/rerank"), body)


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, Mapping) and set(document) == {"text"} else document
    if not isinstance(text, str):
        raise bad("A document is not a text.")
    return text


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    data = load_object(headers, body)
    if isinstance(data.get("message"), str) and "results" not in data:
        raise classify_body(200, body)
    return rerank.parse(headers, body)
