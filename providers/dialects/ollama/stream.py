"""A streamed chat: an object a line, up to the one that is done. Source: https://docs.ollama.com/api/streaming"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.ndjson import LineParser
from providers.dialects.ollama import reading
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import JSONEventDecoder
from providers.dialects.vocabulary import put
from providers.errors import BadReply

Chunks = list[dict[str, Any]]


class ChatDecoder(JSONEventDecoder):
    """Lines, each told as chunks of OpenAI's; see StreamDecoder."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._parser = LineParser(max_event_bytes=max_event_bytes)
        self._reply: dict[str, Any] | None = None
        self._seed = ""
        self._calls = 0

    def take(self, event: dict[str, Any]) -> Chunks:
        message = event.get("message")
        if not isinstance(message, Mapping) and event.get("done") is not True:
            raise BadReply("A line of the stream has no message.", step="parse")
        chunks: Chunks = []
        if self._reply is None:
            self._seed = completions.text(event, "created_at")
            self._reply = {"id": reading.reply_id(self._seed), "model": completions.text(event, "model")}
            chunks.append(self._chunk({"role": "assistant", "content": ""}))
        if isinstance(message, Mapping):
            chunks += self._said(message, event.get("logprobs"))
        if event.get("done") is True:
            self.finished = True
            chunks.append(self._chunk({}, reading.finish(event.get("done_reason"), called=self._calls > 0)))
            if (usage := reading.usage(event)) is not None:
                chunks.append(completions.usage_chunk(self._reply, usage))
        return chunks

    def _said(self, message: Mapping[str, Any], logprobs: Any) -> Chunks:
        calls = reading.calls(message.get("tool_calls"), self._seed, self._calls)
        numbered = [{"index": self._calls + position, **call} for position, call in enumerate(calls)]
        self._calls += len(calls)
        delta: dict[str, Any] = {}
        put(delta, content=completions.text(message, "content"), reasoning_content=reading.thought(message))
        put(delta, tool_calls=numbered)
        likely = reading.logprobs(logprobs)
        return [self._chunk(delta, logprobs=likely)] if delta or likely else []

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        return completions.chunk(self._reply or {}, 0, delta, finish, logprobs)
