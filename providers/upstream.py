"""The only network I/O: sends a request that is already built and signed, within limits, and nowhere it must not go.

The address is checked when the socket is made, so neither DNS games nor odd spellings of an address help. Redirects,
proxy variables, cookies and .netrc are not followed. A failure says at which step it happened:
dns → connect → tls → send → headers → body.

    response = await send(request, policy)                 # one call
    async with Pool() as pool:                             # many calls over kept connections
        response = await send(request, policy, pool=pool)
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from core.netguard import Networks
from providers.dialects.bodies import words
from providers.errors import (
    AddressBlocked,
    BadReply,
    BadRequest,
    TimedOut,
    Unreachable,
    UpstreamError,
    WrongURL,
)
from providers.sockets import Blocked, Connector, Progress, progress
from providers.wire import UpstreamRequest, UpstreamResponse

CHUNK_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024  # of one header line; at most MAX_HEADERS of them
MAX_HEADERS = 128
KEEPALIVE_S = 30
UNSENT = ("dns", "connect", "tls")  # steps at which nothing has reached the upstream


@dataclass(frozen=True, slots=True)
class Policy:
    """What a call may do. `allowed_networks` are the non-public networks that staff approved for its factory."""

    allowed_networks: Networks = ()
    connect_timeout_s: float = 10.0
    total_timeout_s: float = 60.0
    max_body_bytes: int = 16 * 1024 * 1024
    verify_tls: bool = True


class Pool:
    """Connections kept for further calls. Calls with other networks or TLS rules never share one."""

    def __init__(self, *, limit: int = 256, limit_per_host: int = 64) -> None:
        self._limit, self._limit_per_host = limit, limit_per_host
        self._sessions: dict[tuple[Networks, bool], aiohttp.ClientSession] = {}

    def session(self, policy: Policy) -> aiohttp.ClientSession:
        key = (policy.allowed_networks, policy.verify_tls)
        if key not in self._sessions:
            connector = Connector(
                allowed=policy.allowed_networks,
                verify_tls=policy.verify_tls,
                limit=self._limit,
                limit_per_host=self._limit_per_host,
                keepalive_timeout=KEEPALIVE_S,
            )
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                raise_for_status=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
                trace_configs=[_trace()],
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return self._sessions[key]

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
    started = time.monotonic()
    async with _opened(request, policy, pool) as response:
        body = bytearray()
        async for chunk in _chunks(response, policy.max_body_bytes):
            body += chunk
        headers = {name.lower(): value for name, value in response.headers.items()}
        return UpstreamResponse(response.status, headers, bytes(body), round((time.monotonic() - started) * 1000))


@asynccontextmanager
async def _opened(request: UpstreamRequest, policy: Policy, pool: Pool) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response once its headers are here; failures until the end of the block become UpstreamErrors."""
    state = Progress()
    token = progress.set(state)
    try:
        try:
            async with (
                asyncio.timeout(policy.total_timeout_s),
                pool.session(policy).request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers={"Accept-Encoding": "identity", **request.headers},
                    data=_Body(request.body, state) if request.body is not None else None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=policy.connect_timeout_s),
                ) as response,
            ):
                state.step = "body"
                yield response
        finally:
            progress.reset(token)
    except UpstreamError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if state.step == "send":
            await state.abort()
        raise _as_upstream_error(error, state.step, policy) from None


async def _chunks(response: aiohttp.ClientResponse, max_bytes: int) -> AsyncIterator[bytes]:
    """The body, decompressed if it came compressed all the same, and never more than `max_bytes` of it."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise BadReply(f"The answer is compressed as {words(encoding, 20)}, which was not asked for.", step="body")
    if (response.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    inflate = zlib.decompressobj(wbits=47) if encoding in ("gzip", "x-gzip", "deflate") else None
    total = 0
    async for raw in response.content.iter_chunked(CHUNK_BYTES):
        chunk = raw
        if inflate is not None:
            try:
                chunk = inflate.decompress(raw, max_bytes - total + 1)
            except zlib.error:
                raise BadReply("The answer is not compressed as it claims.", step="body") from None
        total += len(chunk)
        if total > max_bytes:
            raise _too_large(max_bytes)
        yield chunk
    if inflate is not None and total and not inflate.eof:
        raise BadReply("The compressed answer was cut off.", step="body")


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
        self._state.step = "send"
        self._state.transport = getattr(writer, "transport", None)
        view = memoryview(self._value)
        for start in range(0, len(view), CHUNK_BYTES):
            await writer.write(bytes(view[start : start + CHUNK_BYTES]))
        if len(view) > CHUNK_BYTES:
            await writer.drain()
        self._state.step = "headers"


def _trace() -> aiohttp.TraceConfig:
    """Notes that a connection stands; the earlier steps are noted by the connector's parts, the later ones by _Body."""

    async def connected(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
        if (state := progress.get()) is not None:
            state.step = "send"

    async def headers_sent(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
        if (state := progress.get()) is not None:
            state.step = "headers"

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    trace.on_request_headers_sent.append(headers_sent)
    return trace


def _as_upstream_error(error: Exception, step: str, policy: Policy) -> UpstreamError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, Blocked):
        return AddressBlocked(step="connect")
    if isinstance(error, TimeoutError):
        return _timed_out(step, policy)
    if isinstance(error, aiohttp.InvalidURL) or (isinstance(error, ValueError) and step == "dns"):
        return WrongURL("The base URL is not one that can be called.", step="build")
    if isinstance(error, aiohttp.ClientConnectorDNSError) or step == "dns":
        return Unreachable(
            "The host name of the base URL cannot be resolved.",
            hint="Check the base URL for a typing error.",
            step="dns",
        )
    if isinstance(error, aiohttp.ClientSSLError) or step == "tls":
        return _tls_failed(error)
    if step == "connect":
        return Unreachable(
            "The upstream does not accept connections.",
            hint="Check the host and port of the base URL, and that the server is running.",
            step="connect",
        )
    if isinstance(error, aiohttp.ClientPayloadError) or step == "body":
        return BadReply(
            "The answer was cut off before its end.",
            hint="Try again; if it stays so, look at the server's log or at the proxy in front of it.",
            step="body",
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReply(
            "The upstream does not answer in HTTP, or its headers are malformed or too large.",
            hint="Check the scheme (http or https) and the port of the base URL.",
            step="headers",
        )
    if isinstance(error, ValueError):
        return BadRequest("The request cannot be sent.", step="send")
    return Unreachable(
        "The upstream closed the connection without an answer.",
        hint="Check the scheme (http or https) and the port of the base URL, and that the server is healthy.",
        step=step,
    )


def _timed_out(step: str, policy: Policy) -> TimedOut:
    if step in UNSENT:
        what = {"dns": "resolving its host name", "connect": "connecting to it", "tls": "agreeing on TLS with it"}[step]
        return TimedOut(
            f"The upstream cannot be reached: {what} took longer than {policy.connect_timeout_s:g} s.",
            hint="Check the host and port of the base URL; a firewall may be in between.",
            step=step,
        )
    what = {"send": "did not take the request", "headers": "did not begin to answer"}.get(step, "did not finish")
    return TimedOut(f"The upstream {what} within {policy.total_timeout_s:g} s.", step=step)


def _tls_failed(error: Exception) -> Unreachable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(
            "The upstream's TLS certificate is not trusted.",
            hint="It must be valid, for this host, and from a known authority; staff may lift this for local services.",
            step="tls",
        )
    return Unreachable(
        "TLS with the upstream failed.",
        hint="Check whether the base URL should begin with http:// instead, and the port.",
        step="tls",
    )
