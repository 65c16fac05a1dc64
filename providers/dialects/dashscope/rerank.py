"""Reranking. Source: https://www.alibabacloud.com/help/en/model-studio/text-rerank-api"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.dashscope import paths
from providers.dialects.dashscope.errors import output
from providers.dialects.openai import rerank
from providers.dialects.vocabulary import bad, count, put, refuse_others
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`instruct` says what is relevant, for models that take instructions."""
    require(payload, "query", "documents")
    asked = target.quirks.apply_params(Operation.RERANK, payload)
    refuse_others(asked, {"query", "documents", "top_n", "return_documents", "instruct"}, "dashscope")
    documents = asked["documents"]
    if not isinstance(asked["query"], str) or not isinstance(documents, list):
        raise bad("The query is a text, and the documents are a list of texts.")
    if not all(isinstance(document, str) for document in documents):
        raise bad("A document is not a text.")
    parameters: dict[str, Any] = {"return_documents": False}
    put(parameters, top_n=count(asked, "top_n"), instruct=asked.get("instruct"))
    body = {
        "model": target.upstream_model,
        "input": {"query": asked["query"], "documents": documents},
        "parameters": parameters,
    }
    return json_request(paths.url(target, Operation.RERANK, paths.RERANK), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    data = load_object(headers, body)
    results = output(data, headers, body).get("results")
    if not isinstance(results, list):
        raise unexpected("The answer holds no scores.", headers, body)
    return rerank.parse(headers, orjson.dumps({"results": results, "usage": data.get("usage")}))
