"""A streamed answer: Gemini's or Claude's, as its first event tells.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference,
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

from providers.dialects.anthropic.stream import MessageDecoder
from providers.dialects.gemini.stream import ContentDecoder
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import Chunks, JSONEventDecoder
from providers.dialects.vertex import whose
from providers.errors import UpstreamError


class AnyDecoder(JSONEventDecoder):
    """Gives each event to the decoder that the first one asked for. Only Claude's events have names."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._own: JSONEventDecoder | None = None

    def take(self, event: dict[str, Any]) -> Chunks:
        own = self._decoder(claude=whose.is_anthropics(event))
        chunks = own.take(event)
        self.finished, self._error = own.finished, own._error
        return chunks

    def last(self) -> Chunks:
        own = self._decoder(claude=False)
        chunks = own.last()
        self.finished = own.finished
        return chunks

    def failure(self, data: bytes) -> UpstreamError:
        return self._decoder(claude=whose.body_is_anthropics(data)).failure(data)

    def _event(self, name: str, data: bytes) -> dict[str, Any]:
        if name:
            self._decoder(claude=True)
        return super()._event(name, data)

    def _decoder(self, *, claude: bool) -> JSONEventDecoder:
        """The one that was chosen; now it is, if none was."""
        if self._own is None:
            self._own = MessageDecoder() if claude else ContentDecoder()
        return self._own
