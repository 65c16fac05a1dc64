"""What the decoders of streams of JSON events share: however the bytes are cut, the same chunks and the same error."""

from __future__ import annotations

from typing import Any

from providers.dialects.bodies import first_words, loads
from providers.dialects.failures import classify_body
from providers.dialects.sse import MAX_EVENT_BYTES, EventParser
from providers.errors import BadReply, UpstreamError

Chunks = list[dict[str, Any]]


class JSONEventDecoder:
    """A StreamDecoder for server-sent events of JSON objects; a dialect says what an event means.

    `take` returns the chunks of one event, or raises UpstreamError; it sets `finished` at the last one. Where an event
    holds chunks and an error, it sets `_error`.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.finished = False
        self._parser = EventParser(max_event_bytes=max_event_bytes)
        self._error: UpstreamError | None = None
        self._seen = False
        self._head = b""

    def take(self, event: dict[str, Any]) -> Chunks:
        return [event]

    def last(self) -> Chunks:
        """What is left to say when the bytes end without an error."""
        return []

    def failure(self, data: bytes) -> UpstreamError:
        """The error that an event of that kind stands for."""
        return classify_body(200, data)

    def is_end(self, data: bytes) -> bool:
        """Whether this event, which need not be JSON, ends the stream."""
        return False

    def feed(self, data: bytes) -> Chunks:
        """The chunks that are complete now; raises UpstreamError for an error in the stream."""
        self._raise_pending()
        if self.finished:
            return []
        if not self._seen and len(self._head) < 512:
            self._head += data[: 512 - len(self._head)]
        return self._decode(self._parser.feed(data))

    def close(self) -> Chunks:
        """The last chunks when the bytes end. Whether the stream was cut shows in `finished`."""
        self._raise_pending()
        if self.finished:
            return []
        chunks = self._decode(self._parser.close())
        self._raise_pending()
        if not self._seen and self._head.strip():
            raise BadReply(
                "The upstream's answer is not a stream of events.",
                hint=f"What came begins: “{first_words(self._head)}”.",
                step="parse",
            )
        return [*chunks, *self.last()]

    def _decode(self, events: list[tuple[str, bytes]]) -> Chunks:
        chunks: Chunks = []
        for name, data in events:
            self._seen = True
            if self.is_end(data):
                self.finished = True
                return chunks
            try:
                chunks += self.take(self._event(name, data))
            except UpstreamError as error:
                self._error = error
                break
            if self.finished:
                return chunks
            if self._error is not None:
                break
        if self._error is None and self._parser.overflown:
            self._error = BadReply("An event of the stream is too large.", step="body")
        if not chunks:
            self._raise_pending()
        return chunks

    def _event(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            event = loads(data)
        except ValueError:
            raise BadReply(
                "An event of the stream is not JSON.", hint=f"It begins: “{first_words(data)}”.", step="parse"
            ) from None
        if not isinstance(event, dict):
            raise BadReply("An event of the stream is not a JSON object.", step="parse")
        if event.get("error") or name == "error":
            raise self.failure(data)
        return event

    def _raise_pending(self) -> None:
        if self._error is not None:
            raise self._error
