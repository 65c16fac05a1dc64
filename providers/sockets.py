"""How sockets come to be: every address is checked, and every call knows how far it came.

Part of `providers.upstream`, for its HTTP connections and its WebSockets alike.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import ip_address
from typing import Any, TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

from core import netguard
from core.netguard import Networks

P = TypeVar("P", bound=asyncio.BaseProtocol)

NAMES_KEPT_S = 10.0  # how long a name's addresses are remembered
# The next address is tried when one has not answered so long, and both kinds of addresses in turn.
# Source: https://www.rfc-editor.org/rfc/rfc8305#section-5
_NEXT_ADDRESS_S = 0.25
_RESOLVER_THREADS = 16


@dataclass(slots=True)
class Progress:
    """The step that a call is at, and what its body is written to."""

    step: str = "dns"
    transport: asyncio.Transport | None = None

    async def abort(self) -> None:
        """Drop a body that is still being written; a mere close would wait for the upstream to take it."""
        if self.transport is not None:
            self.transport.abort()
            await asyncio.sleep(0)


progress: ContextVar[Progress | None] = ContextVar("upstream_progress", default=None)


def at(step: str) -> None:
    """The call that is being made now has come to this step."""
    if (state := progress.get()) is not None:
        state.step = step


class Blocked(OSError):
    """The address may not be called. It says not which one, so that nobody learns what a name resolves to inside."""

    def __init__(self) -> None:
        super().__init__("address not allowed")


async def connect(factory: Callable[[], P], host: str, port: int, names: Names, tls: ssl.SSLContext | None) -> P:
    """The protocol at the end of a new connection. Raises OSError, of which ssl.SSLError is one, or ValueError."""
    found = await names.look_up(host, port)
    at("connect")
    loop = asyncio.get_running_loop()
    made: socket.socket | None = await start_connection(
        found,
        happy_eyeballs_delay=_NEXT_ADDRESS_S,
        interleave=1,
        loop=loop,
        socket_factory=partial(make_socket, names.allowed),
    )
    try:
        # A name's last dot is no part of what a certificate is for: https://www.rfc-editor.org/rfc/rfc6066#section-3
        name = None if tls is None else host.rstrip(".")
        _, protocol = await loop.create_connection(factory, sock=made, ssl=tls, server_hostname=name)
        made = None
        return protocol
    finally:
        if made is not None:
            with suppress(OSError):
                made.close()


def make_socket(allowed: Networks, info: Any) -> socket.socket:
    """A socket for the address it is about to connect to: the last word, whatever was resolved before."""
    at("connect")
    family, kind, protocol, _, address = info
    try:
        netguard.check(address[0], allowed)
    except netguard.BlockedAddress:
        raise Blocked from None
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Names:
    """What host names resolve to, without the addresses that may not be called. Looked up once for all who ask."""

    def __init__(self, allowed: Networks) -> None:
        self.allowed = allowed
        self._known: dict[tuple[str, int], tuple[float, list[AddrInfoType]]] = {}
        self._asked: dict[tuple[str, int], asyncio.Future[list[AddrInfoType]]] = {}

    async def look_up(self, host: str, port: int) -> list[AddrInfoType]:
        """At least one address; raises Blocked if none of those found may be called, or OSError."""
        at("dns")
        if (literal := _literal(host, port)) is not None:
            return [literal]
        loop = asyncio.get_running_loop()
        kept = self._known.get((host, port))
        if kept is not None and loop.time() < kept[0]:
            return kept[1]
        asked = self._asked.get((host, port))
        if asked is None:
            # Not the loop's own threads: the end of asyncio.run() would wait for a look-up that hangs.
            look_up = partial(resolve, host, port, self.allowed)
            asked = self._asked[host, port] = loop.run_in_executor(_threads(), look_up)
            asked.add_done_callback(partial(self._told, host, port))
        return await asyncio.shield(asked)

    def _told(self, host: str, port: int, asked: asyncio.Future[list[AddrInfoType]]) -> None:
        del self._asked[host, port]
        now = asked.get_loop().time()
        self._known = {key: kept for key, kept in self._known.items() if now < kept[0]}
        if not asked.cancelled() and asked.exception() is None:
            self._known[host, port] = (now + NAMES_KEPT_S, asked.result())


def resolve(host: str, port: int, allowed: Networks, family: int = socket.AF_UNSPEC) -> list[AddrInfoType]:
    """The system's answer without the addresses that may not be called; raises Blocked if none is left, or OSError."""
    left: list[AddrInfoType] = []
    blocked = False
    for info in socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM):
        try:
            netguard.check(str(info[4][0]), allowed)
        except netguard.BlockedAddress:
            blocked = True
        else:
            left.append(info)
    if not left:
        raise Blocked if blocked else OSError("no address")
    return left


async def resolve_in_thread(host: str, port: int, allowed: Networks, family: int) -> list[AddrInfoType]:
    """As `resolve`, for an event loop."""
    at("dns")
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), partial(resolve, host, port, allowed, family))


def _literal(host: str, port: int) -> AddrInfoType | None:
    """What a numeric address stands for; None for a name, and for the odd spellings that a look-up is left to."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="dns")


os.register_at_fork(after_in_child=_threads.cache_clear)


class _TLSContext(ssl.SSLContext):
    """Notes when the handshake begins, which nothing else tells."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        at("tls")
        return super().wrap_bio(*args, **kwargs)


@cache
def tls_context(verify: bool) -> ssl.SSLContext:
    """TLS 1.2 or newer, speaking HTTP/1.1; `verify`: whether the certificate must be trusted and for this host."""
    context = _TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
