"""Server-sent events, from bytes cut anywhere. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

import re

MAX_EVENT_BYTES = 4 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventParser:
    """Collects (event name, data) pairs. Comments, ids and unknown fields are passed over.

    Memory is bounded: once an event is larger than `max_event_bytes`, `overflown` is true and all that follows is
    ignored.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.overflown = False
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._started = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that are complete now."""
        if self.overflown:
            return []
        self._buffer += data
        if not self._started:
            if len(self._buffer) < len(_BOM) and _BOM.startswith(bytes(self._buffer)):
                return []
            self._started = True
            if self._buffer.startswith(_BOM):
                del self._buffer[: len(_BOM)]
        return self._take_lines()

    def close(self) -> list[tuple[str, bytes]]:
        """What is left when the stream ends, as an event even without its final newline."""
        events: list[tuple[str, bytes]] = []
        if not self.overflown:
            self._take_line(bytes(self._buffer).removesuffix(b"\r"), events)
            self._dispatch(events)
        self._buffer.clear()
        return events

    def _take_lines(self) -> list[tuple[str, bytes]]:
        events: list[tuple[str, bytes]] = []
        start = 0
        while match := _LINE_END.search(self._buffer, max(start, self._scanned)):
            if match.group() == b"\r" and match.end() == len(self._buffer):
                break  # the other half of \r\n may follow
            self._take_line(bytes(self._buffer[start : match.start()]), events)
            start = match.end()
        del self._buffer[:start]
        self._scanned = max(len(self._buffer) - 1, 0)
        self._check(len(self._buffer))
        return events

    def _take_line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        self._check(len(line))
        if self.overflown:
            return
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(line) + 1
        elif name == b"event":
            self._name = value

    def _check(self, more: int) -> None:
        if self._size + more > self._max:
            self.overflown = True
            self._buffer.clear()
            self._data.clear()

    def _dispatch(self, events: list[tuple[str, bytes]]) -> None:
        if self._data:
            events.append((self._name.decode("utf-8", "replace"), b"\n".join(self._data)))
        self._name, self._data, self._size = b"", [], 0
