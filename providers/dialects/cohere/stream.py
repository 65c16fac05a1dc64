"""A streamed chat, up to `message-end`.

Sources: https://docs.cohere.com/reference/chat-stream and https://docs.cohere.com/docs/tool-use-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.cohere import reading
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import JSONEventDecoder
from providers.dialects.vocabulary import put
from providers.errors import BadReply

MAX_CALLS = 128
Chunks = list[dict[str, Any]]


class ChatDecoder(JSONEventDecoder):
    """Events with a type, each told as chunks of OpenAI's; see StreamDecoder."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._reply: dict[str, Any] = {"id": "", "model": ""}
        self._positions: dict[Any, int] = {}

    def is_end(self, data: bytes) -> bool:
        return data.strip() == b"[DONE]"

    def take(self, event: dict[str, Any]) -> Chunks:
        kind = event.get("type")
        delta = reading.inner(event, "delta")
        message = reading.inner(delta, "message")
        if kind == "message-start":
            self._reply["id"] = completions.text(event, "id")
            return [self._chunk({"role": "assistant", "content": ""})]
        if kind in ("content-start", "content-delta"):
            return self._content(message.get("content"), event)
        if kind == "tool-plan-delta":
            return self._said(content=completions.text(message, "tool_plan"))
        if kind in ("tool-call-start", "tool-call-delta"):
            return self._call(message.get("tool_calls"), event.get("index"), started=kind == "tool-call-start")
        if kind == "citation-start":
            citations = message.get("citations")
            return self._said(citations=citations if isinstance(citations, list) else [citations] if citations else [])
        if kind == "message-end":
            return self._end(delta)
        if kind is None and isinstance(event.get("message"), str):
            raise self.failure(completions.as_json(event).encode())
        return []

    def _content(self, content: Any, event: Mapping[str, Any]) -> Chunks:
        text, thought = reading.spoken([content])
        logprobs = reading.logprobs(event.get("logprobs"))
        if logprobs is not None:
            return [self._chunk({"content": text}, logprobs=logprobs)]
        return self._said(content=text, reasoning_content=thought)

    def _call(self, entry: Any, index: Any, *, started: bool) -> Chunks:
        if isinstance(entry, list):
            entry = entry[0] if entry else None
        if not isinstance(entry, Mapping) or not isinstance(entry.get("function"), Mapping):
            return []
        key = index if type(index) is int else None
        if key not in self._positions and len(self._positions) >= MAX_CALLS:
            raise BadReply("The stream has too many calls of tools.", step="parse")
        if started:
            self._positions[key] = len(self._positions)
        call = {"index": self._positions.setdefault(key, len(self._positions))}
        whole = reading.call(entry)
        if started:
            return [self._chunk({"tool_calls": [{**call, **whole}]})]
        arguments = whole["function"]["arguments"]
        return [self._chunk({"tool_calls": [{**call, "function": {"arguments": arguments}}]})] if arguments else []

    def _end(self, delta: Mapping[str, Any]) -> Chunks:
        reading.check_finish("ERROR" if delta.get("error") else delta.get("finish_reason"), delta)
        self.finished = True
        chunks = [self._chunk({}, reading.finish(delta.get("finish_reason")))]
        usage = reading.usage(delta.get("usage"))
        return chunks if usage is None else [*chunks, completions.usage_chunk(self._reply, usage)]

    def _said(self, **values: Any) -> Chunks:
        delta: dict[str, Any] = {}
        put(delta, **values)
        return [self._chunk(delta)] if delta else []

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        return completions.chunk(self._reply, 0, delta, finish, logprobs)
