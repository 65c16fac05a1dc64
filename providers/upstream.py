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
from functools import cache
from typing import Protocol

import aiohttp
from yarl import URL

from core.netguard import Networks
from providers import network_errors, websockets
from providers.dialects.bodies import words
from providers.errors import BadReply, UpstreamError
from providers.network_errors import UNSENT
from providers.sockets import Connector, Progress, progress
from providers.wire import SocketRequest, UpstreamRequest, UpstreamResponse

__all__ = ["UNSENT", "Exchange", "Policy", "Pool", "open", "send"]

CHUNK_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024  # of one header line; at most MAX_HEADERS of them
MAX_HEADERS = 128
KEEPALIVE_S = 30


@dataclass(frozen=True, slots=True)
class Policy:
    """What a call may do. `allowed_networks` are the non-public networks that staff approved for its factory.

    `first_byte_timeout_s` bounds the time until the answer begins, `idle_timeout_s` the time in which nothing more of
    it comes; None leaves both to the total.
    """

    allowed_networks: Networks = ()
    connect_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    max_body_bytes: int = 16 * 1024 * 1024
    verify_tls: bool = True
    first_byte_timeout_s: float | None = None
    idle_timeout_s: float | None = None


class Pool:
    """Connections kept for further calls. Calls with other networks or TLS rules never share one."""

    def __init__(self, *, limit: int = 256, limit_per_host: int = 64) -> None:
        self._limit, self._limit_per_host = limit, limit_per_host
        self._sessions: dict[tuple[Networks, bool], aiohttp.ClientSession] = {}

    def session(self, policy: Policy) -> aiohttp.ClientSession:
        key = (policy.allowed_networks, policy.verify_tls)
        session = self._sessions.get(key)
        if session is None:
            connector = Connector(
                allowed=policy.allowed_networks,
                verify_tls=policy.verify_tls,
                limit=self._limit,
                limit_per_host=self._limit_per_host,
                keepalive_timeout=KEEPALIVE_S,
            )
            session = self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                raise_for_status=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return session

    def connections(self) -> tuple[int, int]:
        """How many are in use, and how many are kept for the next call. Any thread may ask."""
        connectors = [session.connector for session in list(self._sessions.values())]
        told = [one.connections() for one in connectors if isinstance(one, Connector)]
        return sum(in_use for in_use, _ in told), sum(idle for _, idle in told)

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def send(request: UpstreamRequest, policy: Policy, *, pool: Pool | None = None) -> UpstreamResponse:
    """Send and read the answer to its end, whatever its status; raises UpstreamError if none comes."""
    if pool is None:
        async with Pool(limit=1) as own:
            return await send(request, policy, pool=own)
    if isinstance(request, SocketRequest):
        return await websockets.converse(request, policy, pool)
    started = time.monotonic()
    async with await open(request, policy, pool=pool) as exchange:
        body = await exchange.read()
        return UpstreamResponse(exchange.status, exchange.headers, body, round((time.monotonic() - started) * 1000))


async def open(request: UpstreamRequest, policy: Policy, *, pool: Pool) -> Exchange:
    """Send, and come back when the answer's headers are here, whatever its status; raises UpstreamError if none come.

    Leave the exchange as a context manager, or `close()` it: an answer that was not read to its end costs the
    connection, and the upstream sees that nobody listens any more.
    """
    body = request.body
    large = body is not None and len(body) > CHUNK_BYTES
    state = Progress(sending="send" if large else "headers")
    watch = _Watch(policy.total_timeout_s)
    token = progress.set(state)
    response: aiohttp.ClientResponse | None = None
    try:
        watch.begin(policy.first_byte_timeout_s)
        response = await pool.session(policy).request(
            request.method,
            URL(request.url, encoded=True),
            headers={"Accept-Encoding": "identity", **request.headers},
            data=_Body(body, state) if large and body is not None else body,
            allow_redirects=False,
            timeout=_connect_within(policy.connect_timeout_s),
        )
    except asyncio.CancelledError:
        if not watch.took():
            raise
        if state.step == "send":
            await state.abort()
        if state.step in UNSENT:
            raise network_errors.connect_timed_out(state.step, watch.limit_s) from None
        raise network_errors.timed_out(state.step, watch.limit_s) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if state.step == "send":
            await state.abort()
        raise network_errors.of(error, state.step, connect_timeout_s=policy.connect_timeout_s) from None
    finally:
        watch.end()
        progress.reset(token)
        if response is None:
            watch.stop()
    return Exchange(response, policy, watch)


class Exchange:
    """An answer whose headers are here and whose body is still to be read, once: by `read` or by `chunks`."""

    __slots__ = ("_policy", "_response", "_watch", "status")

    def __init__(self, response: aiohttp.ClientResponse, policy: Policy, watch: _Watch) -> None:
        self.status = response.status
        self._response, self._policy, self._watch = response, policy, watch

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    @property
    def media_type(self) -> str:
        """Such as "text/event-stream"; "" if it is not said."""
        return self._response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The whole body; raises UpstreamError if it is cut off, stalls or is larger than the policy allows."""
        first = b""
        parts: list[bytes] = []
        async for chunk in self.chunks():
            if not first:
                first = chunk
            else:
                parts.append(chunk)
        return b"".join((first, *parts)) if parts else first

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, decompressed if it came compressed all the same; raises UpstreamError as `read`."""
        limit = self._policy.max_body_bytes
        if (self._response.content_length or 0) > limit:
            raise _too_large(limit)
        encoding = self._response.headers.get("Content-Encoding")
        inflate = None if encoding is None else _inflater(encoding)
        total = 0
        while raw := await self._next():
            chunk = raw
            if inflate is not None:
                try:
                    chunk = inflate.decompress(raw, limit - total + 1)
                except zlib.error:
                    raise BadReply("The answer is not compressed as it claims.", step="body") from None
            total += len(chunk)
            if total > limit:
                raise _too_large(limit)
            if chunk:
                yield chunk
        if inflate is not None and total and not inflate.eof:
            raise BadReply("The compressed answer was cut off.", step="body")

    async def _next(self) -> bytes:
        """What has come since the last time; b"" at the end."""
        content, watch, policy = self._response.content, self._watch, self._policy
        if content.is_eof() and content.at_eof():
            return b""
        try:
            watch.begin(policy.idle_timeout_s)
            return await content.readany()
        except asyncio.CancelledError:
            if not watch.took():
                raise
            if policy.idle_timeout_s is not None and watch.limit_s == policy.idle_timeout_s:
                raise network_errors.stalled(watch.limit_s) from None
            raise network_errors.timed_out("body", watch.limit_s) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise network_errors.of(error, "body", connect_timeout_s=policy.connect_timeout_s) from None
        finally:
            watch.end()

    async def drain(self, within_s: float = 1.0) -> None:
        """Read what is left after an end that the body itself announced, so that the connection can be kept."""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._next():
                    pass

    def close(self) -> None:
        """Let go of it. Its connection is kept for the next call only if the body was read to its end."""
        self._watch.stop()
        self._response.close()

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


class _Watch:
    """All time limits of a call with one timer, which costs next to nothing while bytes keep coming.

    Time counts only between `begin` and `end`: a reader that is slow itself is not the upstream's fault.
    """

    __slots__ = (
        "_armed_for",
        "_cancelling",
        "_deadline",
        "_due",
        "_fired",
        "_loop",
        "_task",
        "_timer",
        "limit_s",
        "total_s",
    )

    def __init__(self, total_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.total_s = self.limit_s = total_s
        self._deadline = self._due = self._loop.time() + total_s
        self._armed_for = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False

    def begin(self, limit_s: float | None) -> None:
        """The current task waits for the upstream from now on, at most so long."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._due, self.limit_s = self._deadline, self.total_s
        if limit_s is not None and (due := self._loop.time() + limit_s) < self._deadline:
            self._due, self.limit_s = due, limit_s
        if self._timer is None or self._armed_for > self._due:
            self._arm()

    def end(self) -> None:
        self._task = None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def took(self) -> bool:
        """Whether a cancellation that has just been seen was ours, and nobody else's as well."""
        if not self._fired or self._task is None:
            return False
        return self._task.uncancel() <= self._cancelling

    def _arm(self) -> None:
        self.stop()
        self._armed_for = self._due
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._due:
            self._arm()
            return
        self._fired = True
        self._task.cancel()


@cache
def _connect_within(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect_s)


def _inflater(encoding: str) -> _Inflater | None:
    name = encoding.strip().lower()
    if name in ("identity", ""):
        return None
    if name not in ("gzip", "x-gzip", "deflate"):
        raise BadReply(f"The answer is compressed as {words(name, 20)}, which was not asked for.", step="body")
    return zlib.decompressobj(wbits=47)


def _too_large(max_bytes: int) -> BadReply:
    return BadReply(
        f"The answer is larger than {max_bytes} bytes.",
        hint="Check that the base URL is that of the API; an answer of this size is not expected.",
        step="body",
    )


class _Body(aiohttp.payload.Payload):
    """A body in memory that is written in pieces, and notes when the last one has left."""

    def __init__(self, data: bytes, state: Progress) -> None:
        super().__init__(data)
        self._size = len(data)
        self._state = state

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: aiohttp.abc.AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: aiohttp.abc.AbstractStreamWriter, content_length: int | None) -> None:
        self._state.transport = getattr(writer, "transport", None)
        view = memoryview(self._value)
        for start in range(0, len(view), CHUNK_BYTES):
            await writer.write(bytes(view[start : start + CHUNK_BYTES]))
        if len(view) > CHUNK_BYTES:
            await writer.drain()
        self._state.step = "headers"
