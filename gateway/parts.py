"""The engine of this process, put together as the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.db import connections

from gateway.pipeline import Engine
from providers.upstream import Pool
from usage.admission import BudgetLine, Counters
from usage.counters.memory import MemoryCounters
from usage.counters.redis import RedisCounters
from usage.services import budgets, metering


def engine() -> Engine:
    """For one event loop; it records into the spool that this process carries to the ledger."""
    spool = metering.open_spool()
    flusher = metering.open_flusher(spool)
    flusher.start()
    return Engine(pool=Pool(limit=0, limit_per_host=0), counters=counters(), spool=spool, flusher=flusher)


def counters() -> Counters:
    """In Redis for all processes together where there is one, else in this process."""
    if settings.REDIS_URL:
        return RedisCounters(
            settings.REDIS_URL,
            prefix=settings.REDIS_PREFIX,
            without="refuse" if settings.LIMITS_WITHOUT_REDIS == "refuse" else "memory",
            workers=settings.WEB_WORKERS,
            spent=spent,
        )
    return MemoryCounters(workers=settings.WEB_WORKERS, spent=spent)


async def spent(lines: Sequence[BudgetLine]) -> Mapping[str, int]:
    """What the books say was spent of these budgets."""

    def ask() -> Mapping[str, int]:
        try:
            return budgets.spent_of_lines(lines)
        finally:
            connections.close_all()

    return await asyncio.to_thread(ask)
