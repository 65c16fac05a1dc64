"""Calls of models: chats whole and streamed, embeddings, rankings."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from providers.inprocess import InProcessAnswer
from runtimes.mock import answers, names, requests
from runtimes.mock.names import Kind
from runtimes.mock.replies import Refused, events, json_answer
from runtimes.mock.store import Store

SLOW_WORD_S = 0.2
MAX_INPUTS = 2048
RANKED_BY = 512  # dimensions


async def chat(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    kind = await _called(store, name, ("llm", "vlm"), "chats")
    requests.check_chat(body)
    asked = answers.prompt_tokens(body)
    if asked > kind.max_tokens:
        raise Refused(
            400,
            "context_length_exceeded",
            f"This model's maximum context length is {kind.max_tokens} tokens; the messages have {asked}.",
        )
    said, many = answers.chat(name, body), requests.choices(body)
    said = replace(said, completion_tokens=said.completion_tokens * many)
    id = f"chatcmpl-mock-{zlib.crc32(said.text.encode()):08x}"
    delay_s = SLOW_WORD_S if names.shows(name, "slow") else 0.0
    if body.get("stream"):
        return events(_streamed(name, body, said, many, id, delay_s))
    await asyncio.sleep(delay_s * len(said.pieces))
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.tool_calls:
        message["tool_calls"] = list(said.tool_calls)
    choice = {"message": message, "logprobs": None, "finish_reason": said.finish_reason}
    listed = [{"index": index, **choice} for index in range(many)]
    reply = {"id": id, "object": "chat.completion", "created": 0, "model": name, "choices": listed}
    return json_answer({**reply, "usage": said.usage})


async def _streamed(
    name: str, body: Mapping[str, Any], said: answers.Said, many: int, id: str, delay_s: float
) -> AsyncIterator[dict[str, Any]]:
    options = body.get("stream_options")
    with_usage = isinstance(options, Mapping) and options.get("include_usage") is True
    head: dict[str, Any] = {"id": id, "object": "chat.completion.chunk", "created": 0, "model": name}

    def chunks(delta: dict[str, Any], finish_reason: str | None = None) -> Iterator[dict[str, Any]]:
        """One for each answer that was asked for."""
        for index in range(many):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            yield {**head, "choices": [choice], **({"usage": None} if with_usage else {})}

    for chunk in chunks({"role": "assistant", "content": None if said.tool_calls else ""}):
        yield chunk
    for index, call in enumerate(said.tool_calls):
        for chunk in chunks({"tool_calls": [{"index": index, **call}]}):
            yield chunk
    for number, piece in enumerate(said.pieces):
        await asyncio.sleep(delay_s)
        if number == len(said.pieces) // 2 and names.shows(name, "cut"):
            raise ConnectionResetError(f"{name} is cut")
        for chunk in chunks({"content": piece}):
            yield chunk
    for chunk in chunks({}, said.finish_reason):
        yield chunk
    if with_usage:
        yield {**head, "choices": [], "usage": said.usage}


async def embeddings(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    kind = await _called(store, name, ("embeddings",), "makes embeddings")
    texts = _inputs(body.get("input"))
    most = kind.dimensions or 768
    dimensions = most if body.get("dimensions") is None else body["dimensions"]
    if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 0 < dimensions <= most:
        raise Refused(400, "bad_dimensions", f"“dimensions” is a number from 1 to {most}.")
    counted = [answers.count_tokens(text) for text in texts]
    if max(counted) > kind.max_tokens:
        raise _too_long(kind)
    encoded = body.get("encoding_format") == "base64"
    data = []
    for index, text in enumerate(texts):
        vector = answers.vector(text, dimensions)
        data.append(
            {"object": "embedding", "index": index, "embedding": answers.as_base64(vector) if encoded else vector}
        )
        await asyncio.sleep(0)
    usage = {"prompt_tokens": sum(counted), "total_tokens": sum(counted)}
    return json_answer({"object": "list", "data": data, "model": name, "usage": usage})


async def rerank(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    kind = await _called(store, name, ("rerank",), "ranks")
    query, documents, top_n = body.get("query"), body.get("documents"), body.get("top_n")
    if not isinstance(query, str) or not isinstance(documents, list) or not documents:
        raise Refused(400, "documents_missing", "A “query” and “documents” are needed.")
    if len(documents) > MAX_INPUTS:
        raise Refused(400, "too_many_documents", f"At most {MAX_INPUTS} documents are ranked.")
    texts = [str(one.get("text") or "") if isinstance(one, Mapping) else str(one) for one in documents]
    counted = [answers.count_tokens(text) for text in (query, *texts)]
    if max(counted) > kind.max_tokens:
        raise _too_long(kind)
    asked = answers.vector(query, RANKED_BY)
    results: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        results.append({"index": index, "relevance_score": answers.relevance(asked, answers.vector(text, RANKED_BY))})
        await asyncio.sleep(0)  # other calls wait for this process, too
    results.sort(key=lambda result: (-result["relevance_score"], result["index"]))
    spent = sum(counted)
    usage = {"prompt_tokens": spent, "total_tokens": spent}
    kept = results[:top_n] if isinstance(top_n, int) and top_n > 0 else results
    return json_answer({"model": name, "results": kept, "usage": usage})


async def _called(store: Store, name: str, types: tuple[str, ...], does: str) -> Kind:
    """What a model is that may be called for this; else what stands in the way is raised."""
    model, kind = store.read().models.get(name), names.kind_of(name)
    if model is None:
        raise Refused.unknown(name)
    if kind.type not in types:
        raise Refused(400, "wrong_type", f"“{name}” is not a model that {does}.")
    if not model.loaded:
        raise Refused(409, "model_not_loaded", f"The model “{name}” is not loaded.")
    if names.shows(name, "silent"):
        await asyncio.Event().wait()
    if names.shows(name, "broken"):
        raise Refused(500, "broken", f"The model “{name}” is broken.")
    if names.shows(name, "busy"):
        raise Refused(429, "rate_limit_exceeded", f"The model “{name}” is busy.")
    return kind


def _too_long(kind: Kind) -> Refused:
    return Refused(400, "context_length_exceeded", f"This model's maximum context length is {kind.max_tokens} tokens.")


def _inputs(given: Any) -> list[str]:
    """A text, several texts, tokens, or several lists of tokens; as texts."""
    many = given if isinstance(given, list) else [given]
    if many and all(isinstance(one, int) for one in many):
        many = [many]
    if not 0 < len(many) <= MAX_INPUTS:
        raise Refused(400, "input_missing", f"“input” is a text, or a list of at most {MAX_INPUTS} texts.")
    texts = []
    for one in many:
        if isinstance(one, list) and all(isinstance(token, int) for token in one):
            texts.append(" ".join(map(str, one)))
        elif isinstance(one, str):
            texts.append(one)
        else:
            raise Refused(400, "bad_input", "“input” is a text, or a list of texts.")
    return texts
