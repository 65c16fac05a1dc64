"""One request that came over HTTP, and its answer. Part of `llmadmin.http`.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

HIGH_WATER_BYTES = 64 * 1024  # of a body that the application has yet to take; of what is written at once

_logger = logging.getLogger("uvicorn.error")
_BODYLESS = frozenset({204, 304})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LENGTH, _CHUNKED, _CLOSE = b"\r\ncontent-length: ", b"\r\ntransfer-encoding: chunked\r\n", b"\r\nconnection: close\r\n"


class Connection(Protocol):
    """What carries it."""

    loop: asyncio.AbstractEventLoop

    @property
    def is_full(self) -> bool:
        """Whether the caller has to take something before more is written."""

    async def writable(self) -> None:
        """Return when the caller has taken most of what was written."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Write what waits, and hang up."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def default_lines(self) -> bytes:
        """The headers that every answer has."""

    def answered(self, exchange: Exchange) -> None:
        """The whole answer has been given to `write`."""

    def done(self, exchange: Exchange) -> None:
        """The application has returned."""


class Exchange:
    """One request and its answer; `receive` and `send` are the application's."""

    __slots__ = (
        *("_body", "_chunked", "_connection", "_ended", "_given", "_head", "_left", "_left_bytes", "_scope"),
        *("_silent", "_waiter", "expects", "has_begun", "is_whole", "keeps_alive", "task"),
    )

    def __init__(self, connection: Connection, scope: dict[str, Any], *, keeps_alive: bool, expects: bool) -> None:
        self.keeps_alive = keeps_alive
        self.has_begun = False  # something of the answer has been written
        self.is_whole = False  # the request is here
        self.task: asyncio.Task[None] | None = None
        self._connection, self._scope = connection, scope
        self.expects = expects  # to be told to go on before it sends its body
        self._body: bytes | bytearray = b""
        self._given = False  # all of the request to the application
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # of the answer, until something of its body comes
        self._chunked = self._silent = False  # silent: the answer has a head alone
        self._left_bytes: int | None = None  # of the length that was announced
        self._ended = self._left = False

    async def run(self, app: Any) -> None:
        try:
            await app(self._scope, self.receive, self.send)
            if not self._ended and not self._left:
                _logger.error("ASGI callable returned without completing response.")
        except BaseException as error:
            _logger.error("Exception in ASGI application\n", exc_info=error)
        finally:
            self._connection.done(self)
        if self._ended or self._left:
            return
        if self.has_begun:
            self._connection.close()  # without the answer's end, so that the caller knows
            return
        self._head, self.keeps_alive = None, False
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    async def receive(self) -> dict[str, Any]:
        while not self._left and not self._ended:
            if self._body or (self.is_whole and not self._given):
                body, self._body = self._body, b""
                self._given = self.is_whole
                return {"type": "http.request", "body": bytes(body), "more_body": not self.is_whole}
            if self.expects and not self.has_begun:
                self._connection.write(_CONTINUE)
            self.expects = False
            self._connection.resume_reading()
            if self._waiter is None:
                self._waiter = self._connection.loop.create_future()
            await asyncio.shield(self._waiter)
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        connection = self._connection
        if connection.is_full:
            await connection.writable()
        if self._left:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = self._encoded(message["status"], message.get("headers", ()))
            return
        if kind != "http.response.body" or self._head is None or self._ended:
            raise RuntimeError(f"The message {kind!r} has no place here.")
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self.has_begun:
            self.has_begun = True
            connection.write(self._head)
        if self._silent:
            pass
        elif self._chunked:
            if body:
                connection.write(b"%x\r\n%b\r\n" % (len(body), body))
            if not more:
                connection.write(b"0\r\n\r\n")
        else:
            if self._left_bytes is not None:
                self._left_bytes -= len(body)
                if self._left_bytes < 0 or (self._left_bytes and not more):
                    raise RuntimeError("The answer has another length than its header says.")
            if body:
                connection.write(body)
        if not more:
            self._ended = True
            self.wake()
            connection.answered(self)

    # What the connection calls

    def take(self, body: bytes) -> None:
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)  # or else many small chunks would be copied again with each
            self._body += body
        self.expects = False
        if len(self._body) > HIGH_WATER_BYTES:
            self._connection.pause_reading()
        self.wake()

    def leave(self) -> None:
        """The caller is gone."""
        self._left = True
        self.wake()

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _encoded(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The answer's head, and how its body is to be framed; raises RuntimeError for a header that is none."""
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        block = b"".join(lines)
        if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\0" in block:
            raise RuntimeError("A header of the answer would end its line.")
        said = b"\r\n" + block.lower()
        self._chunked, self._left_bytes = False, None  # of a head that was not written and this is in the place of
        if (at := said.find(_LENGTH)) >= 0:
            at += len(_LENGTH)
            self._left_bytes = int(said[at : said.index(b"\r", at)])
        self._silent = self._scope["method"] == "HEAD" or status in _BODYLESS
        end = b"\r\n"
        if self._left_bytes is None and not self._silent:
            if self._scope["http_version"] == "1.1":
                self._chunked = True
                if _CHUNKED not in said:
                    end = b"transfer-encoding: chunked\r\n\r\n"
            else:
                self.keeps_alive = False  # its end is that of the connection
        if self.expects and not self.is_whole:
            self.keeps_alive = False  # whether its body still comes, nobody can tell
        if _CLOSE in said:
            self.keeps_alive = False
        elif not self.keeps_alive:
            end = b"connection: close\r\n" + end
        return b"%b%b%b%b" % (status_line(status), self._connection.default_lines(), block, end)


@lru_cache(maxsize=600)
def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
