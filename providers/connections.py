"""Connections kept for further calls: who may have which, how many there are, and how long they are kept.

Part of `providers.upstream`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from core.netguard import Networks
from providers.http1 import Connection
from providers.http_requests import Server
from providers.sockets import Names, at, connect, tls_context
from providers.websockets import Connector

if TYPE_CHECKING:
    from providers.upstream import Policy

KEEPALIVE_S = 30
MAX_SEEN = 256


class _Zone:
    """Calls with other networks or TLS rules live in other zones, and never share a connection."""

    def __init__(self, networks: Networks, verify_tls: bool) -> None:
        self.networks, self.verify_tls = networks, verify_tls
        self.names = Names(networks)
        self.hosts: dict[Server, _Host] = {}
        self.connector: Connector | None = None  # for WebSockets


class _Host:
    """The connections to one server."""

    __slots__ = ("idle", "in_use", "server", "zone")

    def __init__(self, zone: _Zone, server: Server) -> None:
        self.zone, self.server = zone, server
        self.idle: list[Connection] = []  # the one used last at the end, which is taken first
        self.in_use = 0


class Pool:
    """Connections kept for further calls. Calls with other networks or TLS rules never share one.

    `limit` is how many calls may run at once, `limit_per_host` how many of them to one server; 0: as many as come. The
    others wait, first come, first served. `keepalive_s` is how long an idle connection is kept. WebSockets are counted
    by themselves. A pool belongs to one event loop.
    """

    def __init__(self, *, limit: int = 256, limit_per_host: int = 64, keepalive_s: float = KEEPALIVE_S) -> None:
        self._limit, self._limit_per_host, self._keepalive_s = limit, limit_per_host, keepalive_s
        self._zones: dict[tuple[Networks, bool], _Zone] = {}
        # By the identity of the networks, which are slow to hash, and kept here so that it stays theirs.
        self._seen: dict[tuple[int, bool], tuple[Networks, _Zone]] = {}
        self._in_use = self._idle = 0
        self._open: set[Connection] = set()
        self._waiting: deque[tuple[_Host, asyncio.Future[None]]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, policy: Policy, server: Server) -> Connection | None:
        """A kept connection to this server, if there is one and nobody has to wait."""
        host = self._zone(policy).hosts.get(server)
        if host is None or not host.idle or not self._has_room(host):
            return None
        connection = self._kept(host)
        if connection is not None:
            self._in_use += 1
            host.in_use += 1
        return connection

    async def make(self, policy: Policy, server: Server, *, fresh: bool) -> Connection:
        """A connection to this server, as soon as it is this call's turn; `fresh`: one that has not been used yet.

        Raises OSError or ValueError if none can be made.
        """
        if self._closed:
            at("connect")
            raise OSError("closed")
        zone = self._zone(policy)
        host = zone.hosts.get(server)
        if host is None:
            host = zone.hosts[server] = _Host(zone, server)
        if self._has_room(host):
            self._in_use += 1
            host.in_use += 1
        else:
            await self._turn(host)
        try:
            connection = None if fresh else self._kept(host)
            if connection is None:
                tls = tls_context(policy.verify_tls) if server.tls else None
                connection = await connect(self._new, server.host, server.port, zone.names, tls)
                connection.home = host
                if self._closed:
                    connection.abort()
                    raise OSError("closed")
                self._open.add(connection)
        except BaseException:
            self._leave(host)
            raise
        return connection

    def connector(self, policy: Policy) -> Connector:
        """What opens WebSockets."""
        zone = self._zone(policy)
        if zone.connector is None:
            zone.connector = Connector(
                allowed=policy.allowed_networks,
                verify_tls=policy.verify_tls,
                limit=self._limit,
                limit_per_host=self._limit_per_host,
                keepalive_timeout=self._keepalive_s,
            )
        return zone.connector

    def connections(self) -> tuple[int, int]:
        """How many are in use, and how many are kept for the next call. Any thread may ask."""
        told = [zone.connector.connections() for zone in list(self._zones.values()) if zone.connector is not None]
        return self._in_use + sum(in_use for in_use, _ in told), self._idle + sum(idle for _, idle in told)

    async def close(self) -> None:
        """Calls that still run fail; no further one can be made."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in self._open:
            connection.abort()
        for _, turn in self._waiting:
            if not turn.done():
                turn.set_exception(OSError("closed"))
        self._waiting.clear()
        zones, self._zones = list(self._zones.values()), {}
        self._seen.clear()
        for zone in zones:
            if zone.connector is not None:
                await zone.connector.close()
        await asyncio.sleep(0)  # in which the sockets are closed

    async def __aenter__(self) -> Pool:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _zone(self, policy: Policy) -> _Zone:
        networks, verify_tls = policy.allowed_networks, policy.verify_tls
        seen = self._seen.get((id(networks), verify_tls))
        if seen is not None:
            return seen[1]
        zone = self._zones.get((networks, verify_tls))
        if zone is None:
            zone = self._zones[networks, verify_tls] = _Zone(networks, verify_tls)
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen[id(networks), verify_tls] = networks, zone
        return zone

    def _has_room(self, host: _Host) -> bool:
        return (not self._limit or self._in_use < self._limit) and (
            not self._limit_per_host or host.in_use < self._limit_per_host
        )

    async def _turn(self, host: _Host) -> None:
        """Wait until this call may have a connection; it is counted as in use then."""
        at("queue")
        turn = asyncio.get_running_loop().create_future()
        place = host, turn
        self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(host)
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def _leave(self, host: _Host) -> None:
        """One call less is under way; whoever has waited longest and can go now, goes."""
        self._in_use -= 1
        host.in_use -= 1
        if not self._waiting:
            return
        for place in list(self._waiting):
            waiting, turn = place
            if not turn.done() and self._has_room(waiting):
                self._waiting.remove(place)
                self._in_use += 1
                waiting.in_use += 1
                turn.set_result(None)
                return

    def _new(self) -> Connection:
        return Connection(self._freed, self._lost)

    def _kept(self, host: _Host) -> Connection | None:
        """The idle connection used last, unless it is too old, going away or saying what nobody asked for."""
        while host.idle:
            connection = host.idle.pop()
            self._idle -= 1
            fresh = connection.loop.time() - connection.idle_since < self._keepalive_s
            if fresh and connection.usable and connection.silent:
                return connection
            connection.abort()
        return None

    def _freed(self, connection: Connection, reusable: bool) -> None:
        host: _Host = connection.home
        if not reusable or self._closed:
            self._open.discard(connection)
            if reusable:
                connection.abort()
        else:
            connection.idle_since = connection.loop.time()
            host.idle.append(connection)
            self._idle += 1
            if self._sweeping is None:
                self._sweeping = connection.loop.call_later(self._keepalive_s, self._sweep)
        self._leave(host)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        host: _Host | None = connection.home
        if host is not None and connection in host.idle:
            host.idle.remove(connection)
            self._idle -= 1

    def _sweep(self) -> None:
        """Close what nobody has used for long, and forget servers that nobody calls any more."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for zone in self._zones.values():
            for server, host in list(zone.hosts.items()):
                while host.idle and now - host.idle[0].idle_since >= self._keepalive_s:
                    self._idle -= 1
                    host.idle.pop(0).abort()
                if not host.idle and not host.in_use and all(waiting is not host for waiting, _ in self._waiting):
                    del zone.hosts[server]
        if self._idle:
            self._sweeping = loop.call_later(self._keepalive_s, self._sweep)
