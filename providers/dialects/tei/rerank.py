"""Reranking. Source: https://huggingface.github.io/text-embeddings-inference/"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load, unexpected
from providers.dialects.openai import rerank
from providers.dialects.rankings import read_request
from providers.dialects.tei import paths
from providers.dialects.vocabulary import put_same
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest

_NATIVE = ("raw_scores", "truncate", "truncation_direction")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """Every document gets a score, best first, however few of them `top_n` asks for."""
    asked, query, documents = read_request(payload, target, _NATIVE, "tei")
    body: dict[str, Any] = {"query": query, "texts": documents}
    put_same(body, asked, _NATIVE)
    return json_request(paths.url(target, Operation.RERANK, "/rerank"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    if not isinstance(load(headers, body), list):
        raise unexpected("The answer holds no scores.", headers, body)
    return rerank.parse(headers, body)
