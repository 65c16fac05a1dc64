"""Formats of their own, spoken by the fake upstream: it checks the key and the shape of what is asked, as they do.

What is wrong about a request is answered with status 400 and words that say what, so that a test shows it.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from tests.fakes.upstream import FakeUpstream, Handler

Answer = Callable[[Handler], None]


class Wrong(Exception):
    """The request is not one that the vendor takes."""


def _asks(fine: bool, what: str) -> None:
    if not fine:
        raise Wrong(what)


def _file(url: Any, kind: str) -> bytes:
    """The bytes of a data URL of this kind of media."""
    _asks(isinstance(url, str) and url.startswith(f"data:{kind}/"), f"expected {kind} in a data URL")
    return base64.b64decode(url.partition(";base64,")[2], validate=True)


# DashScope


def dashscope(upstream: FakeUpstream) -> None:
    """Reranking by words in common; pictures and sounds answered by how many bytes they have."""
    upstream.behave("/api/v1/services/rerank/text-rerank/text-rerank", _dashscope(upstream, _dashscope_rerank))
    path = "/api/v1/services/aigc/multimodal-generation/generation"
    upstream.behave(path, _dashscope(upstream, _dashscope_generation))


def _dashscope(upstream: FakeUpstream, answer: Callable[[Handler, dict[str, Any]], None]) -> Answer:
    def answered(handler: Handler) -> None:
        request = handler.request_now
        if request.headers.get("authorization") != f"Bearer {upstream.key}":
            said = f"Invalid API-key provided: {request.headers.get('authorization')}"
            handler.json({"code": "InvalidApiKey", "message": said, "request_id": "r"}, status=401)
            return
        asked = request.json
        if asked.get("model") not in upstream.models:
            handler.json({"code": "ModelNotFound", "message": "Model not exist.", "request_id": "r"}, status=404)
            return
        try:
            answer(handler, asked)
        except Wrong as wrong:
            handler.json({"code": "InvalidParameter", "message": str(wrong), "request_id": "r"}, status=400)

    return answered


def _dashscope_rerank(handler: Handler, asked: dict[str, Any]) -> None:
    _asks(set(asked) == {"model", "input", "parameters"}, "model, input and parameters")
    wanted, documents = set(asked["input"]["query"].split()), asked["input"]["documents"]
    scores = [
        {"index": place, "relevance_score": len(wanted & set(text.split())) / len(wanted)}
        for place, text in enumerate(documents)
    ]
    scores.sort(key=lambda score: -score["relevance_score"])
    found = scores[: asked["parameters"].get("top_n")]
    handler.json({"output": {"results": found}, "usage": {"total_tokens": len(wanted)}, "request_id": "r"})


def _dashscope_generation(handler: Handler, asked: dict[str, Any]) -> None:
    given = asked["input"]
    if "text" in given:  # speech
        _asks(handler.request_now.headers.get("x-dashscope-sse") == "enable", "speech is streamed")
        samples = base64.b64encode(b"\1\0" * len(given["text"])).decode()
        pieces = [{"output": {"audio": {"data": part, "url": ""}}} for part in (samples, "")]
        text = "".join(f"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(piece)}\n\n" for piece in pieces)
        handler.reply(200, "text/event-stream", text.encode(), {})
        return
    (content,) = [message["content"] for message in given["messages"] if message["role"] == "user"]
    if "audio" in content[0]:
        said = f"{len(_file(content[0]['audio'], 'audio'))} bytes of sound"
    else:
        task = asked.get("parameters", {}).get("ocr_options", {}).get("task", "asked")
        _asks(task != "asked" or len(content) == 2, "a picture alone needs a task")
        said = f"```latex\n{task}: {len(_file(content[0]['image'], 'image'))} bytes of a picture\n```"
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": [{"text": said}]}}
    handler.json({"output": {"choices": [choice]}, "usage": {"total_tokens": 3}, "request_id": "r"})


# Replicate


def replicate(upstream: FakeUpstream) -> None:
    """Predictions that are asked for once more before they are finished."""
    outputs: list[Any] = []

    def created(handler: Handler) -> None:
        request = handler.request_now
        if request.headers.get("authorization") != f"Bearer {upstream.key}":
            said = "You did not pass a valid authentication token"
            handler.json({"title": "Unauthenticated", "detail": said, "status": 401}, status=401)
            return
        given = request.json["input"]
        if "prompt" in given:
            outputs.append([f"You said: {given['prompt']}"])
        else:
            texts = given["texts"] if "texts" in given else json.loads(given["text_batch"])
            outputs.append([{"embedding": [float(len(text)), 1.0]} for text in texts])
        handler.json({"id": "p1", "status": "processing", "output": None}, status=201)

    for name in upstream.models:
        upstream.behave(f"/models/{name}/predictions", created)
    upstream.behave("/predictions", created)
    finished = {"id": "p1", "model": "m", "status": "succeeded"}
    upstream.behave("/predictions/p1", lambda handler: handler.json({**finished, "output": outputs[-1]}))


# Deepgram


def deepgram(upstream: FakeUpstream) -> None:
    """Transcripts that tell how many bytes were heard."""

    def listen(handler: Handler) -> None:
        request = handler.request_now
        asked = dict(urllib.parse.parse_qsl(request.query))
        if request.headers.get("authorization") != f"Token {upstream.key}":
            said = {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials.", "request_id": "r"}
            handler.json(said, status=401)
        elif asked.get("model") not in upstream.models:
            said = {"err_code": "Bad Request", "err_msg": "Bad Request: No such model/version combination found."}
            handler.json(said, status=400)
        elif not request.headers.get("content-type", "").startswith("audio/"):
            handler.json({"err_code": "Bad Request", "err_msg": "Bad Request: no audio"}, status=400)
        else:
            heard = {"alternatives": [{"transcript": f"{len(request.body)} bytes of sound", "confidence": 0.9}]}
            handler.json({"metadata": {"duration": 0.5}, "results": {"channels": [heard]}})

    upstream.behave("/listen", listen)
