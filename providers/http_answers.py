"""An answer as HTTP/1.1 brings it: what has come of it, and where it ends.

What cannot be framed beyond doubt is refused. Sources: https://www.rfc-editor.org/rfc/rfc9112 and …/rfc9110

Part of `providers.upstream`.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from providers.errors import UpstreamError

if TYPE_CHECKING:
    from providers.http1 import Connection

MAX_HEADER_BYTES = 16 * 1024  # of one header's name and value
MAX_HEADERS = 128
MAX_HEAD_BYTES = 128 * 1024  # of all of them, of those that come before them (1xx), and of a body's trailers
HIGH_WATER_BYTES = 256 * 1024  # of an answer that waits to be read before the upstream has to wait


class Malformed(Exception):
    """What came breaks the rules of HTTP, or our limits."""


class Answer:
    """An answer as it comes in. `head` waits for its status and headers, `more` for the next of its body."""

    __slots__ = (
        "_connection",
        "_waiter",
        "begun",
        "buffered",
        "done",
        "error",
        "headers",
        "length",
        "parts",
        "status",
        "step",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.headers: dict[str, str] = {}  # names in lower case; of several with one name the last
        self.length: int | None = None  # bytes of the body, if it was said
        self.begun = False  # status and headers are here
        self.done = False  # the body is here, too
        self.error: UpstreamError | None = None
        self.parts: list[bytes] = []
        self.buffered = 0
        self.step = "headers"

    async def head(self, due: float, limit_s: float) -> None:
        """Return when status and headers are here. `due`, by the loop's clock, is when a limit of `limit_s` is over.
        Raises UpstreamError."""
        while not self.begun:
            if self.error is not None:
                raise self.error
            await self.wait(due, limit_s)

    async def more(self, due: float, limit_s: float, *, idle: bool) -> bytes:
        """What has come of the body since the last time; b"" at its end. Raises UpstreamError.

        `idle`: the limit is one for the time in which nothing comes.
        """
        while not self.parts:
            if self.error is not None:
                raise self.error
            if self.done:
                return b""
            await self.wait(due, limit_s, idle=idle)
        parts, self.parts = self.parts, []
        if self.buffered > HIGH_WATER_BYTES:
            self._connection.go_on(self)
        self.buffered = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def whole(self) -> bytes | None:
        """All that is still to be read of the body, if it is here; None if more may come."""
        if not self.done:
            return None
        parts, self.parts = self.parts, []
        self.buffered = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def wait(self, due: float, limit_s: float, *, idle: bool = False) -> None:
        """Until something happens. If that takes too long, `error` says so afterwards."""
        connection = self._connection
        self._waiter = waiter = connection.loop.create_future()
        connection.watch(due, limit_s, idle)
        try:
            await waiter
        finally:
            self._waiter = None

    @property
    def awaited(self) -> bool:
        return self._waiter is not None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Nobody reads on: before the end of the answer, that is the end of the connection."""
        self._connection.abandon(self)


class Parser:
    """Reads one answer after another: `expect` one, then `feed` it what comes."""

    def __init__(self) -> None:
        self.reusable = False  # the answer's end was certain, and the upstream goes on with this connection
        self.until_close = False  # the answer ends with the connection
        self._parser: HttpResponseParser = HttpResponseParser(self)
        self._answer: Answer | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._uncounted = 0  # bytes since the last of a body
        self._in_head = self._interim = self._bodyless = self._ended = False

    def expect(self, answer: Answer, *, bodyless: bool) -> None:
        self._answer, self._bodyless = answer, bodyless
        self.reusable = self._in_head = True
        self.until_close = self._interim = self._ended = False
        self._uncounted = 0
        self._fields.clear()

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole now; raises Malformed if it never will be."""
        self._uncounted += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self._ended:
                raise Malformed from None
            self.reusable = False  # something follows the answer that is none
        if not self._ended and self._uncounted > MAX_HEAD_BYTES:
            raise Malformed
        return self._ended

    def close(self) -> None:
        """No more comes. The parser knows us, and would else be left to the garbage collector."""
        del self._parser
        self._answer = None

    # What the parser calls; what is raised here, it makes an HttpParserError

    def on_message_begin(self) -> None:
        if self._ended:
            raise ValueError("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which nobody asked for
        self._fields.append((name, value))
        if len(name) + len(value) > MAX_HEADER_BYTES or len(self._fields) > MAX_HEADERS:
            raise ValueError("too large")

    def on_headers_complete(self) -> None:
        answer = cast(Answer, self._answer)
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer, which another follows: RFC 9110 section 15.2
            if status < 100 or status == 101:
                raise ValueError("no status, or a protocol that nobody asked for")
            self._interim = True
            self._fields.clear()
            return
        self._in_head = False
        self._uncounted = 0
        headers = answer.headers = {_name(name): value.decode("latin-1") for name, value in self._fields}
        self._frame(answer, status, headers)
        answer.status = status
        answer.begun = True
        answer.step = "body"

    def _frame(self, answer: Answer, status: int, headers: dict[str, str]) -> None:
        """Where the answer ends: RFC 9112 section 6.3. The parser has refused what contradicts itself."""
        if (coding := headers.get("transfer-encoding")) is not None:
            codings = [value for name, value in self._fields if _name(name) == "transfer-encoding"]
            if len(codings) > 1 or coding.strip().lower() != "chunked":
                raise ValueError("a transfer coding that nobody asked for")
            if self._parser.get_http_version() != "1.1":  # RFC 9112 section 6.1
                self.reusable = False
        if self._bodyless:
            self._ended, self.reusable = True, False  # the parser knows nothing of it and would wait for a body
        elif status in (204, 304):
            self.reusable = self.reusable and coding is None
        elif coding is None:
            length = headers.get("content-length")
            answer.length = None if length is None else int(length)
            self.until_close = length is None

    def on_body(self, data: bytes) -> None:
        if not self._ended:
            answer = cast(Answer, self._answer)
            answer.parts.append(data)
            answer.buffered += len(data)
            self._uncounted = 0

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._ended = True
        self.reusable = self.reusable and self._parser.should_keep_alive()


@lru_cache(maxsize=512)
def _name(name: bytes) -> str:
    return name.decode("latin-1").lower()
