"""Reranking with Cohere's and Amazon's models by InvokeModel, which both have in Cohere's words.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html, https://docs.cohere.com/reference/rerank,
https://docs.opensearch.org/latest/vector-search/tutorials/reranking/reranking-cohere-bedrock/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bedrock.paths import NAME, family, url
from providers.dialects.openai import rerank
from providers.dialects.rankings import read_request
from providers.dialects.vocabulary import put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    asked, query, documents = read_request(payload, target, ("max_tokens_per_doc",), NAME)
    model = family(target.upstream_model)
    body: dict[str, Any] = {}
    if model.startswith("cohere.rerank-"):
        body["api_version"] = 2
    elif model.startswith("amazon.rerank-"):
        refuse_others({"max_tokens_per_doc": asked.get("max_tokens_per_doc")}, (), NAME)
    else:
        raise Unsupported(
            "How this model reranks is not known.",
            hint="Use a model whose id begins with cohere.rerank or amazon.rerank.",
            step="build",
        )
    body |= {"query": query, "documents": documents}
    put(body, top_n=asked.get("top_n"), max_tokens_per_doc=asked.get("max_tokens_per_doc"))
    return json_request(url(target, Operation.RERANK, "invoke"), body)


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    return rerank.parse(headers, body)
