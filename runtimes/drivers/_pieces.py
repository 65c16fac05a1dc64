"""Objects out of bodies that come in pieces: a JSON object on each line, or one in each server-sent event.

However the bytes are cut, the same objects come out. A line or an event that is too large, is not JSON or is not an
object ends it with a BadReply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from providers.dialects.bodies import first_words, loads
from providers.dialects.ndjson import LineParser
from providers.dialects.sse import EventParser
from providers.errors import BadReply

MAX_PIECE_BYTES = 1024 * 1024


class _Objects:
    """Pieces, as `runtimes.drivers.steps` wants them."""

    def __init__(self, parser: EventParser) -> None:
        self._parser = parser

    def feed(self, data: bytes) -> Iterator[Any]:
        yield from self._objects(self._parser.feed(data))

    def close(self) -> Iterator[Any]:
        yield from self._objects(self._parser.close())

    def _objects(self, events: list[tuple[str, bytes]]) -> Iterator[dict[str, Any]]:
        for _, data in events:
            yield self._object(data)
        if self._parser.overflown:
            raise BadReply("A line of the runtime's answer is too long.", step="parse")

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = loads(data)
        except ValueError:
            hint = f"It begins: “{first_words(data)}”."
            raise BadReply("A line of the runtime's answer is not JSON.", hint=hint, step="parse") from None
        if not isinstance(value, dict):
            raise BadReply("A line of the runtime's answer is not a JSON object.", step="parse")
        return value


class JSONLines(_Objects):
    """Newline-delimited JSON, `application/x-ndjson`. Source: https://github.com/ndjson/ndjson-spec"""

    def __init__(self, *, max_piece_bytes: int = MAX_PIECE_BYTES) -> None:
        super().__init__(LineParser(max_event_bytes=max_piece_bytes))


class JSONEvents(_Objects):
    """Server-sent events whose data are JSON; an event's name is not kept.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self, *, max_piece_bytes: int = MAX_PIECE_BYTES) -> None:
        super().__init__(EventParser(max_event_bytes=max_piece_bytes))
