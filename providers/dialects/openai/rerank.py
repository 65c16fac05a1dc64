"""Reranking, which OpenAI does not have: the shape of Jina and Cohere, and what others made of the answer.

Sources: https://jina.ai/reranker/, https://docs.cohere.com/reference/rerank, https://docs.voyageai.com/reference/reranker-api,
https://docs.nvidia.com/nim/nemo-retriever/text-reranking/latest/reference.html, https://huggingface.github.io/text-embeddings-inference/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load, unexpected
from providers.dialects.failures import classify_body
from providers.target import Target
from providers.wire import Operation, Ranking, Score, UpstreamRequest

PATH = "/rerank"
_LISTS = ("results", "data", "rankings")
_SCORES = ("relevance_score", "score", "logit")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "query", "documents")
    body = target.quirks.apply_params(Operation.RERANK, {**payload, "model": target.upstream_model})
    return json_request(target.url_for(Operation.RERANK, PATH), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    """Scores from 0 to 1. Logits, as llama.cpp and NVIDIA answer, are told by their name, or by one beyond that."""
    data = load(headers, body)
    outer: dict[str, Any] = data if isinstance(data, dict) else {}
    items = data if isinstance(data, list) else next((v for n in _LISTS if isinstance(v := outer.get(n), list)), None)
    if items is None:
        if outer.get("error") or outer.get("base_resp"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no scores.", headers, body)
    found = [_score(item) for item in items]
    scores = [score for score in found if score is not None]
    if len(scores) < len(found):
        raise unexpected("A result has no index and score.", headers, body)
    if any("logit" in item for item in items) or not all(0 <= score.score <= 1 for score in scores):
        scores = [Score(score.position, _sigmoid(score.score)) for score in scores]
    usage, model = outer.get("usage") or outer.get("meta"), outer.get("model")
    return Ranking(
        scores,
        usage=usage if isinstance(usage, dict) else None,
        model=model if isinstance(model, str) else "",
    )


def _score(item: Any) -> Score | None:
    if not isinstance(item, dict):
        return None
    index = item.get("index")
    value = next((item[name] for name in _SCORES if name in item), None)
    if type(index) is not int or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return Score(index, number) if index >= 0 and math.isfinite(number) else None


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1 + grown)
