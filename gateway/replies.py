"""A whole answer as the bytes that a caller over HTTP gets: OpenAI's shapes, Jina's for reranking, Mistral's for OCR.

What came in that shape is passed on as it came, unless the model is to be called otherwise than the upstream calls it.
"""

from __future__ import annotations

import base64
import struct
import time
from typing import Any

import orjson

from gateway.call import Call
from gateway.targets import Answer, shown_as
from providers.wire import Document, Embeddings, Operation, Ranking, Speech, Transcript

JSON = "application/json"
# The upstream's own bytes are the answer; other shapes differ between upstreams of one format.
_PASSED = frozenset({Operation.CHAT, Operation.EMBEDDINGS, Operation.TRANSCRIPTION, Operation.OCR})


def written(call: Call, answer: Answer) -> tuple[bytes, str]:
    """The body and its media type."""
    reply = answer.reply
    if isinstance(reply, Speech):
        return reply.audio, reply.media_type
    renames = bool(shown_as(call)) and call.operation is not Operation.TRANSCRIPTION  # which names no model
    if answer.native and call.operation in _PASSED and not renames:
        return answer.response.body, answer.response.headers.get("content-type", JSON)
    if isinstance(reply, Transcript):
        return _transcript(call, reply)
    return orjson.dumps(as_data(call, reply)), JSON


def as_data(call: Call, reply: Any) -> Any:
    """The same as an object."""
    data = _as_data(call, reply)
    shown = shown_as(call)
    return {**data, "model": shown} if shown and isinstance(data, dict) else data


def _as_data(call: Call, reply: Any) -> Any:
    name = call.deployment.llm_name if call.deployment else call.model
    if isinstance(reply, Embeddings):
        return _embeddings(call, reply, name)
    if isinstance(reply, Ranking):
        return _ranking(call, reply, name)
    if isinstance(reply, Document):
        return _document(reply, name)
    if isinstance(reply, dict) and not reply.get("created"):
        return {**reply, "id": reply.get("id") or f"chatcmpl-{call.id}", "created": int(time.time())}
    return reply


def _embeddings(call: Call, reply: Embeddings, name: str) -> dict[str, Any]:
    in_base64 = call.payload.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": packed(vector) if in_base64 else vector}
        for index, vector in enumerate(reply.vectors)
    ]
    usage = {name: value for name, value in (reply.usage or {}).items() if name in ("prompt_tokens", "total_tokens")}
    return {"object": "list", "data": data, "model": reply.model or name, "usage": usage}


def _document(reply: Document, name: str) -> dict[str, Any]:
    pages: list[dict[str, Any]] = [
        {"index": index, "markdown": page, "images": [], "dimensions": None} for index, page in enumerate(reply.pages)
    ]
    used = {"pages_processed": len(pages), "doc_size_bytes": None, **(reply.usage or {})}
    return {"pages": pages, "model": reply.model or name, "document_annotation": None, "usage_info": used}


def packed(vector: list[float]) -> str:
    """Little-endian floats of 32 bits in base64, as OpenAI's `encoding_format` asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _ranking(call: Call, reply: Ranking, name: str) -> dict[str, Any]:
    documents = call.payload.get("documents")
    shows = call.payload.get("return_documents") is True and isinstance(documents, list)
    results: list[dict[str, Any]] = []
    for score in sorted(reply.scores, key=lambda one: -one.score):
        result: dict[str, Any] = {"index": score.position, "relevance_score": score.score}
        if shows and isinstance(documents, list) and score.position < len(documents):
            document = documents[score.position]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    top = call.payload.get("top_n")
    if type(top) is int and top > 0:
        results = results[:top]
    return {
        "id": f"rerank-{call.id}",
        "object": "list",
        "model": reply.model or name,
        "results": results,
        "usage": dict(reply.usage or {}),
    }


def _transcript(call: Call, reply: Transcript) -> tuple[bytes, str]:
    if call.payload.get("response_format") == "text":
        return reply.text.encode(), "text/plain; charset=utf-8"
    data: dict[str, Any] = {"text": reply.text}
    if reply.usage:
        data["usage"] = dict(reply.usage)
    return orjson.dumps(data), JSON
