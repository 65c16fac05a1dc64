"""One exchange over a WebSocket, by the same rules as any other call: addresses, limits, steps and errors.

Part of `providers.upstream`, whose `send` comes here with a SocketRequest. All messages are sent at once; those that
come back are collected until the last one, or until the upstream closes. Source: https://www.rfc-editor.org/rfc/rfc6455
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from core.netguard import Networks
from providers import network_errors
from providers.errors import BadReply, UpstreamError
from providers.network_errors import UNSENT
from providers.sockets import NAMES_KEPT_S, Progress, make_socket, progress, resolve_in_thread, tls_context
from providers.wire import SocketRequest, UpstreamResponse

if TYPE_CHECKING:
    from providers.connections import Pool
    from providers.upstream import Policy

CLOSE_S = 1.0  # how long a farewell may take: the answer is here
MAX_REFUSAL_BYTES = 64 * 1024


class Connector(aiohttp.TCPConnector):
    """A connector of aiohttp whose sockets lead only to public addresses and into `allowed` networks."""

    def __init__(self, *, allowed: Networks, verify_tls: bool, **options: Any) -> None:
        super().__init__(
            resolver=_Resolver(allowed),
            socket_factory=partial(make_socket, allowed),
            ssl=tls_context(verify_tls),
            ttl_dns_cache=int(NAMES_KEPT_S),
            **options,
        )

    def connections(self) -> tuple[int, int]:
        """How many are in use, and how many are idle."""
        return len(self._acquired), sum(len(kept) for kept in list(self._conns.values()))

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        if (state := progress.get()) is not None:
            state.step = "headers"
        return connection


class _Resolver(AbstractResolver):
    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in await resolve_in_thread(host, port, self._allowed, family)
        ]

    async def close(self) -> None:
        return None


class _Refused(Exception):
    """The upstream answered in HTTP instead of opening a WebSocket."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


async def converse(request: SocketRequest, policy: Policy, pool: Pool) -> UpstreamResponse:
    """The messages received, as a body of lines; or the answer of an upstream that refuses. Raises UpstreamError."""
    started = time.monotonic()
    state = Progress()
    token = progress.set(state)
    limit = asyncio.timeout(policy.total_timeout_s)
    try:
        async with limit:
            status, headers, body = await _converse(request, policy, pool, state)
    except _Refused as refused:
        status, headers, body = refused.status, refused.headers, refused.body
        if 200 <= status < 300:
            raise BadReply("The upstream answers in HTTP, not over a WebSocket.", step="headers") from None
    except UpstreamError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        if isinstance(error, TimeoutError) and limit.expired():
            late = network_errors.connect_timed_out if state.step in UNSENT else network_errors.timed_out
            raise late(state.step, policy.total_timeout_s) from None
        raise network_errors.of(error, state.step, connect_timeout_s=policy.connect_timeout_s) from None
    finally:
        progress.reset(token)
    return UpstreamResponse(status, headers, body, round((time.monotonic() - started) * 1000))


async def _converse(
    request: SocketRequest, policy: Policy, pool: Pool, state: Progress
) -> tuple[int, dict[str, str], bytes]:
    async def open_only(asked: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        answer = await send(asked)
        if answer.status != 101:  # nor is a redirect followed
            raise await _refusal(answer)
        if answer.connection is not None:
            state.transport = answer.connection.transport
        headers.update({name.lower(): value for name, value in answer.headers.items()})
        return answer

    headers: dict[str, str] = {}
    async with aiohttp.ClientSession(
        connector=pool.connector(policy),
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, connect=policy.connect_timeout_s),
        skip_auto_headers=("User-Agent", "Content-Type"),
        middlewares=(open_only,),
    ) as session:
        opened = await session.ws_connect(
            URL(request.url, encoded=True),
            method=request.method,
            headers={"Accept-Encoding": "identity", **request.headers},
            max_msg_size=policy.max_body_bytes + 1,
        )
        done = False
        try:
            await _say(opened, request.body or b"", state)
            lines = await _hear(opened, request, policy, state)
            done = True
        finally:
            if not done:
                await state.abort()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await opened.close()
        return 200, headers, b"\n".join(lines)


async def _say(socket: aiohttp.ClientWebSocketResponse, body: bytes, state: Progress) -> None:
    state.step = "send"
    for line in body.split(b"\n"):
        if line:
            await socket.send_str(line.decode())
    state.step = "headers"  # as long as nothing has come back


async def _hear(
    socket: aiohttp.ClientWebSocketResponse, request: SocketRequest, policy: Policy, state: Progress
) -> list[bytes]:
    lines: list[bytes] = []
    room = policy.max_body_bytes
    while True:
        wait_s = policy.idle_timeout_s if lines else policy.first_byte_timeout_s
        try:
            async with asyncio.timeout(wait_s):
                message = await socket.receive()
        except TimeoutError:
            raise (
                network_errors.stalled(wait_s or 0) if lines else network_errors.timed_out(state.step, wait_s)
            ) from None
        state.step = "body"
        if message.type is WSMsgType.TEXT:
            # In JSON a line break is no more than a space; here it parts the messages.
            lines.append(message.data.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace"))
            room -= len(lines[-1]) + 1
            if room < -1:
                raise _too_large(policy)
            if request.is_last(message.data):
                return lines
        elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
            if socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY) and lines:
                return lines
            raise aiohttp.ClientPayloadError
        elif message.type is WSMsgType.ERROR and socket.close_code == WSCloseCode.MESSAGE_TOO_BIG:
            raise _too_large(policy)
        else:
            raise BadReply("The upstream sends what is not text, or breaks the rules of WebSockets.", step="body")


async def _refusal(answer: aiohttp.ClientResponse) -> _Refused:
    body = bytearray()
    try:
        while len(body) < MAX_REFUSAL_BYTES and (chunk := await answer.content.readany()):
            body += chunk
    except aiohttp.ClientError:
        pass  # what has come will do
    finally:
        answer.close()
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return _Refused(answer.status, headers, bytes(body[:MAX_REFUSAL_BYTES]))


def _too_large(policy: Policy) -> BadReply:
    return BadReply(f"The answer is larger than {policy.max_body_bytes} bytes.", step="body")
