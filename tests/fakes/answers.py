"""What the fake model server answers when it is well: OpenAI's shapes, one function for each path."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from email.message import Message
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.upstream import FakeUpstream, Handler, Received

CREATED = 1_700_000_000


def _known(handler: Handler, fake: FakeUpstream, model: Any) -> bool:
    if model in fake.models:
        return True
    error = {
        "message": f"The model `{model}` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": None,
        "code": "model_not_found",
    }
    handler.json({"error": error}, status=404)
    return False


def _models(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in fake.models]
    handler.json({"object": "list", "data": rows})


def _chat(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    asked = request.json
    if not _known(handler, fake, asked.get("model")):
        return
    text, usage = "Hello!", {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
    base = {"id": "chatcmpl-fake", "created": CREATED, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        handler.json({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
        return
    chunk = {**base, "object": "chat.completion.chunk"}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": part}, None) for part in ("Hel", "lo!")]
    deltas.append(({}, "stop"))
    events = [
        {**chunk, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    if (asked.get("stream_options") or {}).get("include_usage"):
        events.append({**chunk, "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
    handler.close_connection = True
    handler.head(200, "text/event-stream", {})
    for line in lines:
        handler.wfile.write(line.encode())
        handler.wfile.flush()


def _embeddings(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    asked = request.json
    if not _known(handler, fake, asked.get("model")):
        return
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    rows = []
    for index, text in enumerate(texts):
        vector = [round((len(str(text)) + step) / 64, 6) for step in range(fake.dimensions)]
        rows.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(str(text).split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    handler.json({"object": "list", "data": rows, "model": asked["model"], "usage": usage})


def _rerank(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    asked = request.json
    if not _known(handler, fake, asked.get("model")):
        return
    wanted = set(asked["query"].lower().split())
    scored = [
        {"index": index, "relevance_score": len(wanted & set(str(text).lower().split())) / max(len(wanted), 1)}
        for index, text in enumerate(asked["documents"])
    ]
    scored.sort(key=lambda row: -row["relevance_score"])
    usage = {"total_tokens": len(wanted)}
    handler.json({"model": asked["model"], "results": scored[: asked.get("top_n")], "usage": usage})


def _transcription(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    headers = Message()
    headers["Content-Type"] = request.headers.get("content-type", "")
    boundary = str(headers.get_param("boundary", "")).encode()
    model = ""
    for part in request.body.split(b"--" + boundary):
        if b'name="model"' in part:
            model = part.partition(b"\r\n\r\n")[2].strip().decode()
    if _known(handler, fake, model):
        handler.json({"text": "Hello.", "usage": {"type": "duration", "seconds": 1}})


def _speech(handler: Handler, fake: FakeUpstream, request: Received) -> None:
    if _known(handler, fake, request.json.get("model")):
        silence = b"\0\0" * 800
        head = b"RIFF" + struct.pack("<I", 36 + len(silence)) + b"WAVEfmt "
        head += struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + b"data" + struct.pack("<I", len(silence))
        handler.reply(200, "audio/wav", head + silence, {})


ANSWERS: dict[tuple[str, str], Callable[[Handler, FakeUpstream, Received], None]] = {
    ("GET", "/models"): _models,
    ("POST", "/chat/completions"): _chat,
    ("POST", "/embeddings"): _embeddings,
    ("POST", "/rerank"): _rerank,
    ("POST", "/audio/transcriptions"): _transcription,
    ("POST", "/audio/speech"): _speech,
}
