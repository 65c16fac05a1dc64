"""HTTP/1.1 for ASGI applications, run by uvicorn's server in the place of its own protocol.

uvicorn runs everything around it: sockets, signals, the lifespan, the end. This differs from its protocol in what a
request costs, which is half: an answer's head leaves with its body in one write, writes of one turn of the loop go out
together (`core.turns`), and no request has timers or events of its own. llhttp parses. Source:
https://asgi.readthedocs.io/en/latest/specs/www.html and https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import chain
from typing import Any, cast
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn import Config
from uvicorn.server import ServerState

from core.turns import Turns
from llmadmin.http_exchange import HIGH_WATER_BYTES, Exchange, status_line

MAX_HEAD_BYTES = 64 * 1024  # of a request's line and headers; of whatever else comes and is no body
MAX_WAITING = 64  # requests of one connection that came before the answer to an earlier one

_logger = logging.getLogger("uvicorn.error")
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_FRAMING = frozenset({b"expect", b"transfer-encoding"})
_INVALID = b"Invalid HTTP request received."  # uvicorn's words


class _Refused(Exception):
    """Raised where the parser calls: this is how to answer what cannot be taken."""

    def __init__(self, status: int, words: bytes) -> None:
        super().__init__(status)
        self.status, self.words = status, words


class HttpProtocol(asyncio.Protocol):
    """One connection: requests are parsed as they come, and answered one after the other.

    Of uvicorn's settings `limit_concurrency`, `root_path` and `access_log` are not heeded, nor any of WebSockets.
    """

    head_within_s = 30.0  # beyond the time for which a connection may idle
    stalls_for_s = 120.0  # a caller that sends nothing of the body it announced, or takes nothing of its answer

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: object = None
    ) -> None:
        self._app = config.loaded_app
        self._state, self._app_state = server_state, app_state
        self._keep_alive_s = max(config.timeout_keep_alive, 0.01)
        self.loop = asyncio.get_running_loop()
        self._turns = Turns.running()
        self._parser = HttpRequestParser(self)
        self._transport = cast(asyncio.Transport, None)
        self._reads: Exchange | None = None  # whose request is being parsed
        self._answers: Exchange | None = None  # whose answer is being written
        self._waiting: deque[Exchange] = deque()  # requests that came before the answer to an earlier one had left
        self._head_bytes = 0  # that came since the last byte of a body, or the last head
        self._in_body = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._closing = self._paused = False
        self._refused = b""  # what the connection ends with once all before it is answered
        self._writable: asyncio.Future[None] | None = None
        self._timer = cast(asyncio.TimerHandle, None)
        self._idle_since = self._moved_at = self.loop.time()
        self._used = False  # a request has been answered
        self._heard = False  # since the timer rang
        self._unsent_bytes = 0  # when the timer rang
        self._defaults: object = None
        self._default_lines = b""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._expects = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # of which uvicorn wants `shutdown` alone
        self._server, self._client = (
            tuple(address[:2]) if isinstance(address, tuple) else None
            for address in (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
        )
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._timer = self.loop.call_later(self._keep_alive_s, self._ring)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._closing = True
        self._out.clear()
        self._leave()
        self.resume_writing()
        self._timer.cancel()
        self._answers = self._reads = None  # which know us, as the parser does: the garbage collector need not look
        del self._parser

    def data_received(self, data: bytes) -> None:
        if self._closing or self._refused:
            return
        self._heard = True
        self._head_bytes += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
            except HttpParserError as error:
                refused = error.__context__
                status, words = (refused.status, refused.words) if isinstance(refused, _Refused) else (400, _INVALID)
                self._refuse(status, words)
                return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, b"The request's headers are too large.")

    def eof_received(self) -> None:
        """The caller says nothing more, and so does not wait for an answer: the transport closes."""
        self.flush()

    def pause_writing(self) -> None:
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What uvicorn calls

    def shutdown(self) -> None:
        """Answer what has been asked, and nothing after it."""
        if self._answers is None:
            self.close()
        else:
            last = self._waiting[-1] if self._waiting else self._answers
            last.keeps_alive = False

    # What the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # a trailer: it must not pass for a header, which a proxy has looked at
        name = name.lower()
        self._headers.append((name, value))
        if name in _FRAMING:
            if name == b"expect":
                self._expects = value.lower() == b"100-continue"
            elif value.lower() != b"chunked":
                raise _Refused(501, b"This transfer coding is not spoken here.")

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self._head_bytes > MAX_HEAD_BYTES and sum(map(len, chain(*self._headers))) > MAX_HEAD_BYTES:
            raise _Refused(431, b"The request's headers are too large.")
        method = parser.get_method()
        if parser.should_upgrade():
            if method == b"CONNECT":
                raise _Refused(400, _INVALID)
            return  # it comes again, `_without_upgrade`
        if len(self._waiting) >= MAX_WAITING:
            self._waiting[-1].keeps_alive = False  # by which its caller knows that no later one is answered
            raise _Refused(503, b"Too many requests came at once.")
        version = parser.get_http_version()
        url = parse_url(self._url)
        raw_path = url.path or (b"/" if url.host else b"")
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "state": self._app_state.copy(),
        }
        self._head_bytes, self._in_body = 0, True
        keeps_alive = version == "1.1" and parser.should_keep_alive()
        expects = self._expects and version == "1.1"
        exchange = self._reads = Exchange(self, scope, keeps_alive=keeps_alive, expects=expects)
        if self._answers is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._reads is not None:
            self._reads.take(body)

    def on_message_complete(self) -> None:
        exchange, self._reads = self._reads, None
        self._in_body = False
        self._head_bytes = 0
        if exchange is not None:
            exchange.is_whole = True
            exchange.wake()
        elif self._answers is None:
            self._idle_since = self.loop.time()

    # What exchanges call

    @property
    def is_full(self) -> bool:
        return self._writable is not None

    async def writable(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def write(self, data: bytes) -> None:
        if not self._out:
            self._turns.flush_soon(self)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > HIGH_WATER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        try:
            if self._out and not self._closing:
                self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        finally:
            self._out.clear()
            self._out_bytes = 0

    def close(self) -> None:
        """Write what waits, and hang up: whoever is still answering need not go on."""
        if not self._closing:
            self.flush()
            self._closing = True
            self._transport.close()
            self._leave()

    def pause_reading(self) -> None:
        if not self._paused and not self._closing:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._transport.resume_reading()

    def default_lines(self) -> bytes:
        """uvicorn makes them anew each second."""
        if self._defaults is not self._state.default_headers:
            self._defaults = self._state.default_headers
            self._default_lines = b"".join([b"%b: %b\r\n" % pair for pair in self._state.default_headers])
        return self._default_lines

    def answered(self, exchange: Exchange) -> None:
        self._state.total_requests += 1
        self._answers = None
        self._used = True
        if self._reads is exchange:  # the rest of its body is not wanted any more
            self._reads = None
        if not exchange.keeps_alive:
            self.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        elif self._refused:
            self.write(self._refused)
            self.close()
        else:
            self.resume_reading()
            self._idle_since = self.loop.time()

    def done(self, exchange: Exchange) -> None:
        if exchange.task is not None:
            self._state.tasks.discard(exchange.task)

    # What it does by itself

    def _begin(self, exchange: Exchange) -> None:
        self._answers = exchange
        exchange.task = self.loop.create_task(exchange.run(self._app))
        self._state.tasks.add(exchange.task)

    def _refuse(self, status: int, words: bytes) -> None:
        """Answer what is no request, once all before it are answered; no further one can be told from the bytes."""
        _logger.warning(words.decode("ascii"))
        lines = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(words)
        self._refused = status_line(status) + self.default_lines() + lines + length + words
        exchange, self._reads = self._reads, None
        if self._answers is not None and self._answers is not exchange:
            if exchange is not None and exchange in self._waiting:
                self._waiting.remove(exchange)  # its body will never be whole
            self._in_body = False  # nor is waited for
            return
        if not self._in_body or (exchange is not None and not exchange.has_begun):  # or it has its answer
            self.write(self._refused)
        self.close()

    def _without_upgrade(self) -> bytes:
        """The head that has just been parsed, as if it asked for no other protocol, of which none is spoken here.

        The parser takes no body with such a head. It has one all the same (RFC 9110 section 7.8), and to take that for
        the next request would let its author put words into the mouths of others.
        """
        old, self._parser = self._parser, HttpRequestParser(self)
        lines = [b"%b %b HTTP/%b" % (old.get_method(), self._url, old.get_http_version().encode("ascii"))]
        lines += [b"%b: %b" % pair for pair in self._headers if pair[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _leave(self) -> None:
        for exchange in (self._answers, *self._waiting):
            if exchange is not None:
                exchange.leave()
        self._waiting.clear()

    def _ring(self) -> None:
        """The one timer of a connection, however many requests come: it looks whether the caller keeps us waiting."""
        now = self.loop.time()
        heard, self._heard = self._heard, False
        unsent_bytes, self._unsent_bytes = self._unsent_bytes, self._transport.get_write_buffer_size()
        has_to_read = self._closing or self.is_full
        if has_to_read:
            moves = unsent_bytes != self._unsent_bytes
        else:
            moves = heard or not self._in_body or self._paused or (self._reads is not None and self._reads.expects)
        if moves:
            self._moved_at = now
        if self._answers is not None or self._in_body or has_to_read:
            left_s = self._moved_at + self.stalls_for_s - now
        else:
            left_s = self._idle_since + self._keep_alive_s - now
            if self._head_bytes or not self._used:
                left_s += self.head_within_s
        if left_s > 0:
            pass
        elif has_to_read:
            self._transport.abort()
        elif self._reads is not None:
            self._refuse(408, b"The request's body did not come.")
        else:
            self.close()
        next_s = min(left_s, self._keep_alive_s) if left_s > 0 else self._keep_alive_s
        self._timer = self.loop.call_later(next_s, self._ring)
