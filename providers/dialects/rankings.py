"""Reading what is to be ranked: a query and documents, each a text or an object with nothing but a text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from providers.dialects.base import require
from providers.dialects.vocabulary import bad, refuse_others
from providers.target import Target
from providers.wire import Operation

# A ranking is positions and scores, so whether the documents come back with it makes no difference.
_COMMON = ("query", "documents", "top_n", "return_documents")


def read_request(
    payload: Mapping[str, Any], target: Target, native: Collection[str], dialect: str
) -> tuple[dict[str, Any], str, list[str]]:
    """What is asked for, the query and the documents. `native` are the dialect's own parameters."""
    require(payload, "query", "documents")
    asked = target.quirks.apply_params(Operation.RERANK, payload)
    refuse_others(asked, {*_COMMON, *native}, dialect)
    query, documents = asked["query"], asked["documents"]
    if not isinstance(query, str) or not isinstance(documents, list):
        raise bad("The query is a text, and the documents are a list of texts.")
    return asked, query, [_text(document) for document in documents]


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, Mapping) and set(document) == {"text"} else document
    if not isinstance(text, str):
        raise bad("A document is not a text.")
    return text
