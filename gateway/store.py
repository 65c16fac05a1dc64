"""Keeps the snapshots of the tenants that are being served, and drops one as soon as its version has moved.

Two ways lead to that: every process asks the database for the versions twice a second, and a change made in this very
process wakes it at once. So a revoked token is refused by every worker within two seconds, with or without Redis.
While the database is away, what is remembered stays in use; `age_s` says how old it is, and /readyz shows it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import connections

from gateway import snapshot
from gateway.snapshot import Caller, TenantSnapshot
from tenants.services import routing, tokens

logger = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

POLL_S = 0.5
USE_RECORDED_EVERY_S = 60.0
PRUNED_EVERY_S = 600.0
MAX_TENANTS = 2_000
MAX_TOKENS = 20_000

_watching: list[SnapshotStore] = []  # a web process whose code calls from Python, too, has two


def age_s() -> float | None:
    """How old this process's knowledge of changes is; None in a process that does not serve the gateway."""
    return max((store.age_s for store in list(_watching)), default=None)


class SnapshotStore:
    """Belongs to one event loop; the database is asked in threads of its own."""

    def __init__(self, *, max_tenants: int = MAX_TENANTS, poll_s: float = POLL_S) -> None:
        self._max_tenants = max_tenants
        self._poll_s = poll_s
        self._tenants: OrderedDict[str, TenantSnapshot] = OrderedDict()
        self._tenant_of: OrderedDict[str, str] = OrderedDict()
        self._loading: dict[str, asyncio.Task[TenantSnapshot]] = {}
        self._used: set[str] = set()
        self._started_at = self._refreshed_at = time.monotonic()
        self._failing = False
        self._poller: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._refreshed_at

    def __len__(self) -> int:
        return len(self._tenants)

    async def start(self) -> None:
        """Begin to watch for changes; does nothing when it has begun."""
        if self._poller is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        # Polling has a thread to itself: a flood of unknown tokens must not keep a revocation from being seen.
        self._poll_thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-poll")
        self._load_threads = ThreadPoolExecutor(4, thread_name_prefix="gateway-load")
        self._poller = asyncio.create_task(self._poll(), name="gateway-snapshots")
        routing.committed.connect(self._on_change, weak=False, dispatch_uid=id(self))
        _watching.append(self)

    async def close(self) -> None:
        if self._poller is None:
            return
        routing.committed.disconnect(dispatch_uid=id(self))
        self._poller.cancel()
        with suppress(asyncio.CancelledError):
            await self._poller
        with suppress(Exception):  # when a token was last used is worth no failing shutdown
            await self._record_use()
        self._poller = None
        self._poll_thread.shutdown(wait=False, cancel_futures=True)
        self._load_threads.shutdown(wait=False, cancel_futures=True)
        _watching.remove(self)

    async def find(self, digest: str) -> tuple[Caller, TenantSnapshot] | None:
        """Whose token this is the digest of, and what its tenant may call; None if it is good for nothing."""
        if self._poller is None:
            await self.start()
        tenant_id = self._tenant_of.get(digest)
        fresh = tenant_id is None
        if tenant_id is None:
            tenant_id = await self._in_thread(self._load_threads, snapshot.tenant_of, digest)
            if tenant_id is None:
                return None
            _remember(self._tenant_of, digest, tenant_id, MAX_TOKENS)
        tenant = await self.tenant(tenant_id)
        if fresh and digest not in tenant.callers:  # made after the picture was taken
            self._tenants.pop(tenant_id, None)
            tenant = await self.tenant(tenant_id)
        caller = tenant.callers.get(digest)
        if caller is None or caller.is_expired:
            self._tenant_of.pop(digest, None)
            return None
        self._used.add(caller.token_id)
        return caller, tenant

    async def tenant(self, tenant_id: str) -> TenantSnapshot:
        """What this tenant may call; one that does not exist may call nothing."""
        await self.start()
        known = self._tenants.get(tenant_id)
        if known is not None:
            self._tenants.move_to_end(tenant_id)
            return known
        task = self._loading.get(tenant_id)
        if task is None:
            task = asyncio.create_task(self._load(tenant_id))
            self._loading[tenant_id] = task
            task.add_done_callback(lambda _: self._loading.pop(tenant_id, None))
        return await asyncio.shield(task)

    async def refresh(self) -> None:
        """See now what has been changed until now; raises DatabaseError."""
        await self.start()
        await self._refresh()

    async def _load(self, tenant_id: str) -> TenantSnapshot:
        taken = await self._in_thread(self._load_threads, snapshot.load, tenant_id)
        _remember(self._tenants, tenant_id, taken, self._max_tenants)
        return taken

    # --- Watching ---------------------------------------------------------------------------------------------------

    def _on_change(self, **_: Any) -> None:
        """Called in whatever thread committed the change."""
        with suppress(RuntimeError):  # the loop ended without closing us
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _poll(self) -> None:
        recorded_at = pruned_at = time.monotonic()
        while True:
            try:
                await self._refresh()
                if time.monotonic() - recorded_at > USE_RECORDED_EVERY_S:
                    recorded_at = time.monotonic()
                    await self._record_use()
                if time.monotonic() - pruned_at > PRUNED_EVERY_S:
                    pruned_at = time.monotonic()
                    await self._in_thread(self._poll_thread, routing.prune)
            except Exception as error:
                if not self._failing:
                    logger.error("gateway.snapshots_stale", error=type(error).__name__, detail=str(error))
                self._failing = True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)
            self._wake.clear()

    async def _refresh(self) -> None:
        """Drop the snapshots that are out of date; the next call of their tenants takes new ones."""
        asked_at = time.monotonic()
        current = await self._in_thread(self._poll_thread, snapshot.versions, list(self._tenants))
        for tenant_id, version in current.items():
            known = self._tenants.get(tenant_id)
            if known is not None and known.version != version:
                del self._tenants[tenant_id]
        self._refreshed_at = asked_at
        if self._failing:
            logger.info("gateway.snapshots_fresh")
        self._failing = False

    async def _record_use(self) -> None:
        used, self._used = self._used, set()
        if used:
            await self._in_thread(self._poll_thread, tokens.record_use, used)

    async def _in_thread(
        self, threads: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def call() -> T:
            try:
                return work(*args, **kwargs)
            finally:
                connections.close_all()

        return await asyncio.get_running_loop().run_in_executor(threads, call)


def _remember(cache: OrderedDict[str, T], key: str, value: T, limit: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > limit:
        cache.popitem(last=False)


def _after_fork() -> None:
    """A child has none of the threads that watch."""
    for store in _watching:
        routing.committed.disconnect(dispatch_uid=id(store))
    _watching.clear()


os.register_at_fork(after_in_child=_after_fork)
