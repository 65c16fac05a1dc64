"""Reranking with Cohere's and Amazon's models by InvokeModel, which both have in Cohere's words.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html, https://docs.cohere.com/reference/rerank,
https://docs.opensearch.org/latest/vector-search/tutorials/reranking/reranking-cohere-bedrock/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bedrock.paths import NAME, family, url
from providers.dialects.openai import rerank
from providers.dialects.vocabulary import bad, put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Ranking, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "query", "documents")
    asked = target.quirks.apply_params(Operation.RERANK, payload)
    # A ranking is positions and scores, so whether the documents come back with it makes no difference.
    refuse_others(asked, {"query", "documents", "top_n", "return_documents", "max_tokens_per_doc"}, NAME)
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
    query, documents = asked["query"], asked["documents"]
    if not isinstance(query, str) or not isinstance(documents, list):
        raise bad("The query is a text, and the documents are a list of texts.")
    body |= {"query": query, "documents": [_text(document) for document in documents]}
    put(body, top_n=asked.get("top_n"), max_tokens_per_doc=asked.get("max_tokens_per_doc"))
    return json_request(url(target, Operation.RERANK, "invoke"), body)


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, Mapping) and set(document) == {"text"} else document
    if not isinstance(text, str):
        raise bad("A document is not a text.")
    return text


def parse(headers: Mapping[str, str], body: bytes) -> Ranking:
    return rerank.parse(headers, body)
