"""The only network I/O: sends a request that is already built and signed, within limits, and nowhere it must not go.

The address is checked when the socket is made, so neither DNS games nor odd spellings of an address help. Redirects,
proxy variables, cookies and .netrc are not followed. A failure says at which step it happened:
dns → connect → tls → send → headers → body.

    response = await send(request, policy)                 # one call
    async with Pool() as pool:                             # many calls over kept connections
        response = await send(request, policy, pool=pool)
        async with await open(request, policy, pool=pool) as exchange:
            async for chunk in exchange.chunks(): ...      # an answer that is read as it comes
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from core.netguard import Networks
from providers import inprocess, network_errors, websockets
from providers.connections import Pool
from providers.dialects.bodies import words
from providers.errors import BadReply, Unreachable, UpstreamError
from providers.http1 import Connection
from providers.http_answers import Answer
from providers.http_requests import IDEMPOTENT, Server, encode
from providers.network_errors import UNSENT
from providers.sockets import Progress, progress
from providers.wire import SocketRequest, UpstreamRequest, UpstreamResponse

__all__ = ["UNSENT", "Exchange", "Policy", "Pool", "open", "send"]

# A kept connection that breaks so soon after a request, without a word, was being closed already when we wrote.
STALE_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a call may do. `allowed_networks` are the non-public networks that staff approved for its factory.

    `first_byte_timeout_s` bounds the time until the answer begins, `idle_timeout_s` the time in which nothing more of
    it comes; None leaves both to the total. `in_process`: upstreams inside this process may be called, too.
    """

    allowed_networks: Networks = ()
    connect_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    max_body_bytes: int = 16 * 1024 * 1024
    verify_tls: bool = True
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    in_process: bool = False


async def send(request: UpstreamRequest, policy: Policy, *, pool: Pool | None = None) -> UpstreamResponse:
    """Send and read the answer to its end, whatever its status; raises UpstreamError if none comes."""
    if pool is None:
        async with Pool(limit=1) as own:
            return await send(request, policy, pool=own)
    if isinstance(request, SocketRequest):
        return await websockets.converse(request, policy, pool)
    started = time.monotonic()
    exchange = await open(request, policy, pool=pool)
    try:
        body = await exchange.read()
        return UpstreamResponse(exchange.status, exchange.headers, body, round((time.monotonic() - started) * 1000))
    finally:
        exchange.close()


async def open(request: UpstreamRequest, policy: Policy, *, pool: Pool) -> Exchange:
    """Send, and come back when the answer's headers are here, whatever its status; raises UpstreamError if none come.

    Leave the exchange as a context manager, or `close()` it: an answer that was not read to its end costs the
    connection, and the upstream sees that nobody listens any more.
    """
    if inprocess.is_in_process(request.url):
        return await inprocess.open(request, policy)
    server, head = encode(request)
    began = time.monotonic()  # which is the loop's clock, too
    limit_s = policy.total_timeout_s
    if policy.first_byte_timeout_s is not None and policy.first_byte_timeout_s < limit_s:
        limit_s = policy.first_byte_timeout_s
    connection = pool.take(policy, server)
    if connection is None:
        connection = await _connected(pool, server, policy, limit_s)
    bodyless = request.method == "HEAD"
    try:
        answer = await connection.ask(head, request.body, began + limit_s, limit_s, bodyless=bodyless)
    except Unreachable:
        left_s = began + limit_s - connection.loop.time()
        if not _was_stale(connection, request) or left_s <= 0:
            raise
        connection = await _connected(pool, server, policy, left_s, fresh=True)
        answer = await connection.ask(head, request.body, began + limit_s, limit_s, bodyless=bodyless)
    return Exchange(answer, policy, began)


def _was_stale(connection: Connection, request: UpstreamRequest) -> bool:
    """Whether the upstream closed a kept connection just as it was used again, so that the request may be sent anew.

    Nobody can tell for certain that it was not read, so RFC 9110 section 9.2.2 wants a reason to send a method twice
    that is not idempotent. Ours: not a byte came back on a connection that had carried answers before, and it broke
    within a round trip, long before a model would have answered.
    """
    if not connection.used or connection.heard:
        return False
    return request.method in IDEMPOTENT or connection.lasted_s < STALE_S


async def _connected(pool: Pool, server: Server, policy: Policy, left_s: float, *, fresh: bool = False) -> Connection:
    """A connection, as soon as there is one; raises UpstreamError if there is none in time."""
    limit_s = min(policy.connect_timeout_s, left_s)
    state = Progress()
    token = progress.set(state)
    try:
        async with asyncio.timeout(limit_s):
            return await pool.make(policy, server, fresh=fresh)
    except TimeoutError:
        raise network_errors.connect_timed_out(state.step, limit_s) from None
    except (OSError, ValueError) as error:
        step = "connect" if state.step == "queue" else state.step
        raise network_errors.of(error, step, connect_timeout_s=limit_s) from None
    finally:
        progress.reset(token)


class Exchange:
    """An answer whose headers are here and whose body is still to be read, once: by `read` or by `chunks`."""

    __slots__ = ("_answer", "_came", "_due", "_inflate", "_policy", "_total", "headers", "status")

    def __init__(self, answer: Answer, policy: Policy, began: float) -> None:
        self.status = answer.status
        self.headers = answer.headers
        """Names in lower case."""
        self._answer, self._policy = answer, policy
        self._due = began + policy.total_timeout_s
        self._inflate: _Inflater | None = None
        self._came = self._total = 0  # bytes, as they came and unpacked

    @property
    def media_type(self) -> str:
        """Such as "text/event-stream"; "" if it is not said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The whole body; raises UpstreamError if it is cut off, stalls or is larger than the policy allows."""
        self._begin()
        if self._inflate is None and (body := self._answer.whole()) is not None:
            if len(body) > self._policy.max_body_bytes:
                raise _too_large(self._policy.max_body_bytes)
            return body
        parts: list[bytes] = []
        while raw := await self._next():
            parts.append(self._unpacked(raw))
        self._end()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, decompressed if it came compressed all the same; raises UpstreamError as `read`."""
        self._begin()
        while raw := await self._next():
            if chunk := self._unpacked(raw):
                yield chunk
        self._end()

    def _begin(self) -> None:
        if (self._answer.length or 0) > self._policy.max_body_bytes:
            raise _too_large(self._policy.max_body_bytes)
        if (encoding := self.headers.get("content-encoding")) is not None:
            self._inflate = _inflater(encoding)

    async def _next(self) -> bytes:
        """What has come since the last time; b"" at the end."""
        answer, due, limit_s = self._answer, self._due, self._policy.total_timeout_s
        idle_s = self._policy.idle_timeout_s
        if idle_s is not None and not answer.parts and not answer.done:
            idle_due = time.monotonic() + idle_s
            if idle_due < due:
                return await answer.more(idle_due, idle_s, idle=True)
        return await answer.more(due, limit_s, idle=False)

    def _unpacked(self, raw: bytes) -> bytes:
        limit = self._policy.max_body_bytes
        self._came += len(raw)
        if self._inflate is not None:
            raw = _inflated(self._inflate, raw, limit - self._total + 1)
        self._total += len(raw)
        if self._total > limit or self._came > limit:
            raise _too_large(limit)
        return raw

    def _end(self) -> None:
        if self._inflate is not None and self._total and not self._inflate.eof:
            raise BadReply("The compressed answer was cut off.", step="body")

    async def drain(self, within_s: float = 1.0) -> None:
        """Read what is left after an end that the body itself announced, so that the connection can be kept."""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._next():
                    pass

    def close(self) -> None:
        """Let go of it. Its connection is kept for the next call only if the body was read to its end."""
        self._answer.close()

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def _inflater(encoding: str) -> _Inflater | None:
    name = encoding.strip().lower()
    if name in ("identity", ""):
        return None
    if name not in ("gzip", "x-gzip", "deflate"):
        raise BadReply(f"The answer is compressed as {words(name, 20)}, which was not asked for.", step="body")
    return zlib.decompressobj(wbits=47)


def _inflated(inflate: _Inflater, raw: bytes, at_most: int) -> bytes:
    """Raises BadReply for what is not compressed so, and for what follows its end: zlib would gather that for ever."""
    try:
        unpacked = inflate.decompress(raw, at_most)
    except zlib.error:
        unpacked = None
    if unpacked is None or inflate.unused_data:
        raise BadReply("The answer is not compressed as it claims.", step="body")
    return unpacked


def _too_large(max_bytes: int) -> BadReply:
    return BadReply(
        f"The answer is larger than {max_bytes} bytes.",
        hint="Check that the base URL is that of the API; an answer of this size is not expected.",
        step="body",
    )
