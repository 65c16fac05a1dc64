"""Reranking: passages in, logits out, which become scores between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.openai import rerank
from providers.dialects.rankings import read_request
from providers.dialects.vocabulary import bad, put
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """Every document gets a score, best first, however few of them `top_n` asks for."""
    asked, query, documents = read_request(payload, target, ("truncate",), "nvidia")
    body: dict[str, Any] = {
        "model": target.upstream_model,
        "query": {"text": query},
        "passages": [{"text": document} for document in documents],
    }
    put(body, truncate=asked.get("truncate"))
    return json_request(_url(target), body)


def _url(target: Target) -> str:
    """In the cloud each model has its own path; a NIM of one's own has one for the model that it serves."""
    if target.own_base_url:
        at = replace(target, quirks=replace(target.quirks, version_path="/v1", paths={}))
        return at.url_for(Operation.RERANK, "/ranking")
    if path := target.quirks.path_for(Operation.RERANK, ""):
        return target.url_for(Operation.RERANK, path)
    name = target.upstream_model.rpartition("/")[2].replace(".", "_")
    if not name or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise bad("The model's name is not one of NVIDIA's.")
    return target.url_for(Operation.RERANK, f"/{name}/reranking")


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    data = load_object(headers, body)
    if not isinstance(data.get("rankings"), list) and not data.get("error"):
        raise unexpected("The answer holds no rankings.", headers, body)
    return rerank.parse(headers, body)
