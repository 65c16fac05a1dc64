"""Reranking. Source: https://docs.cohere.com/reference/rerank"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object
from providers.dialects.cohere import paths
from providers.dialects.failures import classify_body
from providers.dialects.openai import rerank
from providers.dialects.rankings import read_request
from providers.dialects.vocabulary import put_same
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest

_NATIVE = ("max_tokens_per_doc", "priority")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    asked, query, documents = read_request(payload, target, _NATIVE, "cohere")
    body: dict[str, Any] = {"model": target.upstream_model, "query": query, "documents": documents}
    put_same(body, asked, ("top_n", *_NATIVE))
    return json_request(paths.url(target, Operation.RERANK, "/v2/rerank"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    data = load_object(headers, body)
    if isinstance(data.get("message"), str) and "results" not in data:
        raise classify_body(200, body)
    return rerank.parse(headers, body)
