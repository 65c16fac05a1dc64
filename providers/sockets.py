"""How sockets come to be: every address is checked, and every call knows how far it came.

Part of `providers.upstream`, which is the only one that should import it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core import netguard
from core.netguard import Networks

_RESOLVER_THREADS = 16


@dataclass(slots=True)
class Progress:
    """The step that a call is at, and what its body is written to."""

    step: str = "dns"
    sending: str = "send"  # the step after the connection stands: a small body is gone with the headers
    transport: asyncio.Transport | None = None

    async def abort(self) -> None:
        """Drop a body that is still being written; a mere close would wait for the upstream to take it."""
        if self.transport is not None:
            self.transport.abort()
            await asyncio.sleep(0)


progress: ContextVar[Progress | None] = ContextVar("upstream_progress", default=None)


def _at(step: str) -> None:
    if (state := progress.get()) is not None:
        state.step = step


class Blocked(OSError):
    """The address may not be called. It says not which one, so that nobody learns what a name resolves to inside."""

    def __init__(self) -> None:
        super().__init__("address not allowed")


class Connector(aiohttp.TCPConnector):
    """A connector whose sockets lead only to public addresses and into `allowed` networks."""

    def __init__(self, *, allowed: Networks, verify_tls: bool, **options: Any) -> None:
        super().__init__(
            resolver=_Resolver(allowed),
            socket_factory=partial(make_socket, allowed),
            ssl=_tls_context(verify_tls),
            ttl_dns_cache=10,
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
            state.step = state.sending
        return connection


def make_socket(allowed: Networks, info: Any) -> socket.socket:
    """A socket for the address it is about to connect to: the last word, whatever was resolved before."""
    _at("connect")
    family, kind, protocol, _, address = info
    try:
        netguard.check(address[0], allowed)
    except netguard.BlockedAddress:
        raise Blocked from None
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class _Resolver(AbstractResolver):
    """The system's resolver, which leaves out addresses that may not be called, and fails if none is left."""

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        _at("dns")
        look_up = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        # Not the loop's own threads: the end of asyncio.run() would wait for a look-up that hangs.
        found = await asyncio.get_running_loop().run_in_executor(_threads(), look_up)
        results: list[ResolveResult] = []
        for found_family, _, protocol, _, address in found:
            ip = str(address[0])
            try:
                netguard.check(ip, self._allowed)
            except netguard.BlockedAddress:
                continue
            results.append(
                ResolveResult(
                    hostname=host,
                    host=ip,
                    port=port,
                    family=found_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        if found and not results:
            raise Blocked
        return results

    async def close(self) -> None:
        return None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="dns")


os.register_at_fork(after_in_child=_threads.cache_clear)


class _TLSContext(ssl.SSLContext):
    """Notes when the handshake begins, which nothing else tells."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        _at("tls")
        return super().wrap_bio(*args, **kwargs)


@cache
def _tls_context(verify: bool) -> ssl.SSLContext:
    context = _TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
