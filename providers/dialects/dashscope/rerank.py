"""Reranking. Source: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.dashscope import paths
from providers.dialects.dashscope.errors import output
from providers.dialects.openai import rerank
from providers.dialects.rankings import read_request
from providers.dialects.vocabulary import count, put
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`instruct` says what is relevant, for models that take instructions."""
    asked, query, documents = read_request(payload, target, ("instruct",), "dashscope")
    parameters: dict[str, Any] = {"return_documents": False}
    put(parameters, top_n=count(asked, "top_n"), instruct=asked.get("instruct"))
    body = {
        "model": target.upstream_model,
        "input": {"query": query, "documents": documents},
        "parameters": parameters,
    }
    return json_request(paths.url(target, Operation.RERANK, paths.RERANK), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    data = load_object(headers, body)
    results = output(data, headers, body).get("results")
    if not isinstance(results, list):
        raise unexpected("The answer holds no scores.", headers, body)
    return rerank.parse(headers, orjson.dumps({"results": results, "usage": data.get("usage")}))
