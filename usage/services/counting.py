"""What counts limits and budgets in this process, as the settings say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connections

from usage.admission import BudgetLine, Counters
from usage.counters.memory import MemoryCounters
from usage.counters.redis import RedisCounters
from usage.services import budgets

_threads = ThreadPoolExecutor(2, thread_name_prefix="limits-spent")
_local: MemoryCounters | None = None


def _after_fork() -> None:
    """The threads are the parent's."""
    global _threads
    _threads = ThreadPoolExecutor(2, thread_name_prefix="limits-spent")


os.register_at_fork(after_in_child=_after_fork)


def counters(*, beside: bool = False) -> Counters:
    """For the running event loop; to be closed with it. `beside`: others count in this process, and are the ones that
    `local` tells of."""
    global _local
    if settings.REDIS_URL:
        return RedisCounters(
            settings.REDIS_URL,
            prefix=f"{settings.REDIS_PREFIX}limits:",
            without=settings.LIMITS_WITHOUT_REDIS,
            workers=settings.WEB_WORKERS,
            spent=spent,
            timeout_s=settings.LIMITS_REDIS_TIMEOUT_MS / 1000,
        )
    made = MemoryCounters(workers=settings.WEB_WORKERS, spent=spent)
    if not beside:
        _local = made
    return made


def counts_alone() -> bool:
    """Whether one web process counts, by itself: this one, where pages and answers are made."""
    return settings.WEB_WORKERS == 1 and not settings.REDIS_URL


def local() -> MemoryCounters | None:
    """What this process counts with by itself; None if it has not begun."""
    return _local


async def spent(lines: Sequence[BudgetLine]) -> Mapping[str, int]:
    """What the database says was spent of these budgets; raises DatabaseError."""

    def ask() -> Mapping[str, int]:
        try:
            return budgets.spent_of_lines(lines)
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(_threads, ask)
