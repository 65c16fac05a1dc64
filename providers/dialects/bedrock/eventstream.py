"""AWS's binary event stream, from bytes cut anywhere.

    total length (4) | headers' length (4) | CRC of these 8 (4) | headers | payload | CRC of all before (4)

Sources: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream,
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
import zlib

from providers.dialects.sse import MAX_EVENT_BYTES, EventParser

CORRUPT = "corrupt"  # the name of the last event, if the bytes are no such stream; its data are the first of them
FAILED = "failed:"  # what the name of an exception begins with
_PRELUDE = struct.Struct(">III")
_MIN_FRAME = _PRELUDE.size + 4
# The sizes of headers' values by type; 6 (bytes) and 7 (text) say theirs.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class FrameParser(EventParser):
    """Collects (event type, payload) pairs; as bounded as its base class. After a corrupt frame nothing follows."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._broken = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        if self.overflown or self._broken:
            return []
        self._buffer += data
        events: list[tuple[str, bytes]] = []
        start = 0
        while (size := self._frame_size(start)) and len(self._buffer) - start >= size:
            events.append(self._frame(bytes(self._buffer[start : start + size])))
            start += size
            if self._broken:
                break
        if size == 0:
            self._broken = True
            events.append((CORRUPT, bytes(self._buffer[start : start + _PRELUDE.size])))
        del self._buffer[:start]
        if self.overflown or self._broken:
            self._buffer.clear()
        return events

    def close(self) -> list[tuple[str, bytes]]:
        """A frame that is not whole says nothing."""
        self._buffer.clear()
        return []

    def _frame_size(self, start: int) -> int | None:
        """How long the frame is that begins there; None if it cannot be told yet or is too long, 0 if it is corrupt."""
        if self.overflown or self._broken or len(self._buffer) - start < _PRELUDE.size:
            return None
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, start)
        if crc != zlib.crc32(self._buffer[start : start + 8]) or total < _MIN_FRAME or headers > total - _MIN_FRAME:
            return 0
        if total > self._max:
            self.overflown = True
            return None
        return int(total)

    def _frame(self, frame: bytes) -> tuple[str, bytes]:
        found = None
        if int.from_bytes(frame[-4:], "big") == zlib.crc32(frame[:-4]):
            end = _PRELUDE.size + int.from_bytes(frame[4:8], "big")
            found = _headers(frame[_PRELUDE.size : end])
        if found is None:
            self._broken = True
            return CORRUPT, b""
        payload = frame[end:-4]
        match found.get(":message-type", "event"):
            case "exception":
                return f"{FAILED}{found.get(':exception-type', '')}", payload
            case "error":
                return f"{FAILED}{found.get(':error-code', '')}", found.get(":error-message", "").encode()
        return found.get(":event-type", ""), payload


def _headers(data: bytes) -> dict[str, str] | None:
    """The headers that are texts; None if they are malformed."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            end = at + 1 + data[at]
            name, kind = data[at + 1 : end].decode(), data[end]
            at = end + 1
            if kind in (6, 7):
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
                if kind == 7:
                    found[name] = data[at : at + size].decode()
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError, UnicodeDecodeError):
        return None
    return found if at == len(data) else None
