"""What a process remembers of the budgets that Redis counts: for when it is away, and to compare with the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from usage.admission import BudgetLine, Period, Spent
from usage.counters.carrier import Away
from usage.counters.wallets import READ_EVERY_MS, spent_or_nothing

MAX_REMEMBERED: Final = 20_000
SEEDED_AT_ONCE: Final = 100

# Makes Redis know at least so many units as spent: `(budgets, periods, units by key)`; raises Away.
Raise = Callable[[Sequence[BudgetLine], Sequence[Period], Mapping[str, int]], Awaitable[None]]


class _Known:
    __slots__ = ("committed", "last_read", "line", "period", "read_ms", "reading", "spent")

    def __init__(self, line: BudgetLine, period: Period, now_ms: int) -> None:
        self.line = line
        self.period = period
        self.committed = self.spent = self.last_read = 0
        self.read_ms = now_ms
        self.reading = False


class KnownBudgets:
    """Belongs to one event loop."""

    def __init__(self, spent: Spent | None, raise_to: Raise, *, clock: Callable[[], float]) -> None:
        self._ask = spent
        self._raise_to = raise_to
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def committed(self, line: BudgetLine, period: Period) -> int | None:
        """What was spent and set aside when Redis last said; None if it did not in this period."""
        known = self._known.get(line.key)
        return known.committed if known is not None and known.period == period else None

    def settle(self, budgets: Sequence[BudgetLine], periods: Sequence[Period], *, spent: int, reserved: int) -> None:
        """A call has cost so much, for which so much was set aside."""
        for line, period in zip(budgets, periods, strict=True):
            known = self._known.get(line.key)
            if known is not None and known.period == period:
                known.spent += spent
                known.committed += spent - reserved

    def learn(
        self,
        budgets: Sequence[BudgetLine],
        periods: Sequence[Period],
        money: Sequence[tuple[int, int]],
        now_ms: int,
    ) -> None:
        """Remember what Redis said (committed and spent of each), and compare it with the database now and then."""
        stale = False
        for line, period, (committed, spent) in zip(budgets, periods, money, strict=True):
            known = self._known.get(line.key)
            if known is None or known.period != period:
                known = self._known[line.key] = _Known(line, period, now_ms)
                if len(self._known) > MAX_REMEMBERED:
                    del self._known[next(iter(self._known))]
            known.line, known.committed, known.spent = line, committed, spent
            stale = stale or (now_ms - known.read_ms > READ_EVERY_MS and not known.reading)
        if stale and self._ask is not None:
            self._start(self._compare([self._known[line.key] for line in budgets]))

    async def seed(self, budgets: Sequence[BudgetLine], periods: Sequence[Period]) -> None:
        """Tell Redis where counting starts: where the database is, and never below what this process knows.

        Raises Away.
        """
        spent = await self._spent(budgets)
        starts: dict[str, int] = {}
        for line, period in zip(budgets, periods, strict=True):
            known = self._known.get(line.key)
            before = known.spent if known is not None and known.period == period else 0
            starts[line.key] = max(spent.get(line.key, 0), line.spent_at_start(period.label), before)
        await self._raise_to(budgets, periods, starts)

    async def seed_all(self) -> None:
        """The same for all that are remembered; raises Away."""
        now_ms = int(self._clock() * 1000)
        current = [each for each in self._known.values() if each.period.ends_ms > now_ms]
        for start in range(0, len(current), SEEDED_AT_ONCE):
            for tenant in _by_tenant(current[start : start + SEEDED_AT_ONCE]):
                await self.seed([each.line for each in tenant], [each.period for each in tenant])

    async def _compare(self, known: Sequence[_Known]) -> None:
        """Raise what Redis knows to what the database said one reading ago: all of that has been settled by now, so
        that no call is counted twice. It finds what a process left in its spool when it died."""
        for each in known:
            each.reading = True
        try:
            spent = await self._spent([each.line for each in known])
            now_ms = int(self._clock() * 1000)
            for each in known:
                before, each.last_read = each.last_read, spent.get(each.line.key, 0)
                each.read_ms = now_ms
                if before > each.spent and each.period.ends_ms > now_ms:
                    with suppress(Away):
                        await self._raise_to([each.line], [each.period], {each.line.key: before})
        finally:
            for each in known:
                each.reading = False

    async def _spent(self, lines: Sequence[BudgetLine]) -> Mapping[str, int]:
        return {} if self._ask is None else await spent_or_nothing(self._ask, lines)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _by_tenant(known: Iterable[_Known]) -> list[list[_Known]]:
    """Those of one slot of a cluster together."""
    found: dict[str, list[_Known]] = {}
    for each in known:
        found.setdefault(each.line.key.partition("}")[0], []).append(each)
    return list(found.values())
