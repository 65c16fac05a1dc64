"""What was spent from budgets, as far as one process knows; the database tells it more, now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from usage.admission import BudgetLine, Money, Period, Spent, period_at
from usage.counters.verdicts import Left

logger = structlog.get_logger(__name__)

READ_EVERY_MS: Final = 10_000  # how often the database is asked what was spent, while calls are made
READ_EVERY_MS_SHARED: Final = 2_000  # likewise, with other processes beside this one
IDLE_MS: Final = 15 * 60_000  # a budget that was not used for so long is forgotten, and read again when it is


class Wallet:
    """What was spent from a budget in one period, and what is set aside of it."""

    __slots__ = ("base", "ends_ms", "last_read", "period", "read_ms", "reading", "reserved", "spent", "used_ms")

    def __init__(self, period: Period, spent: int, *, now_ms: int, read_ms: int) -> None:
        self.period = period
        self.ends_ms = period.ends_ms
        self.spent = self.base = spent
        self.reserved = 0
        self.last_read = 0
        self.used_ms = now_ms
        self.read_ms = read_ms
        self.reading = False

    def learn(self, spent: int, now_ms: int) -> None:
        """Take over what the database said, one reading late: all of that has been settled here too, so that no call
        is counted twice."""
        self.spent = max(self.spent, self.last_read)
        self.last_read = spent
        self.base = self.spent
        self.read_ms = now_ms

    def left(self, amount: int, workers: int) -> Left:
        """What one of so many processes may still commit: its share of what was left when it last read."""
        when_idle = amount - self.spent
        if workers == 1:
            return Left(when_idle - self.reserved, when_idle)
        return Left((amount - self.base) // workers - (self.spent - self.base) - self.reserved, when_idle)


class Wallets:
    """Belongs to one event loop. `spent` asks the database; without it, counting starts from what the lines say."""

    def __init__(self, spent: Spent | None, *, shared: bool, clock: Callable[[], float]) -> None:
        self._ask = spent
        self._read_every_ms = READ_EVERY_MS_SHARED if shared else READ_EVERY_MS
        self._clock = clock
        self._found: dict[str, Wallet] = {}
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._found)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def collect(self, budgets: Sequence[BudgetLine], now_ms: int) -> list[Wallet] | None:
        """Those of the running period; None if one has to be opened first."""
        found: list[Wallet] = []
        for line in budgets:
            wallet = self._found.get(line.key)
            if wallet is None:
                return None
            if now_ms >= wallet.ends_ms:  # a new period: nothing can have been spent in it yet but by others
                wallet = self._begin(line, 0, now_ms)
            wallet.used_ms = now_ms
            if now_ms - wallet.read_ms >= self._read_every_ms and self._ask is not None and not wallet.reading:
                self._read_again(budgets)
            found.append(wallet)
        return found

    async def open(self, budgets: Sequence[BudgetLine], now_ms: int) -> list[Wallet]:
        """Make those that are missing from what the database says; all who wait for one wait together."""
        missing = [line for line in budgets if line.key not in self._found]
        mine = [line for line in missing if line.key not in self._opening]
        others = [self._opening[line.key] for line in missing if line.key in self._opening]
        if mine:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._opening.update((line.key, done) for line in mine)
            spent: Mapping[str, int] = {}
            try:
                spent = await self._spent(mine)
            finally:
                self._add(mine, spent, now_ms)
                for line in mine:
                    del self._opening[line.key]
                done.set_result(None)
        for waiting in others:
            await asyncio.shield(waiting)
        self._add(missing, {}, now_ms)
        return self.collect(budgets, now_ms) or []

    def begin(self, line: BudgetLine, committed: int, now_ms: int) -> None:
        """Start from what somebody else knew, unless it is counted here already."""
        wallet = self._found.get(line.key)
        if wallet is None or now_ms >= wallet.ends_ms:
            self._begin(line, committed, now_ms)

    def clear(self) -> None:
        """Somebody else counts from now on; what is set aside is still settled by whoever holds the wallet."""
        self._found.clear()

    def money(self, line: BudgetLine, now_ms: int) -> Money | None:
        """How one stands; None if it was not used in the running period."""
        wallet = self._found.get(line.key)
        return Money(wallet.spent, wallet.reserved) if wallet is not None and now_ms < wallet.ends_ms else None

    def keys(self) -> list[str]:
        return list(self._found)

    def forget_idle(self, key: str, now_ms: int) -> None:
        wallet = self._found.get(key)
        if wallet is not None and not wallet.reserved and now_ms - wallet.used_ms > IDLE_MS:
            del self._found[key]

    def _begin(self, line: BudgetLine, spent: int, now_ms: int, *, read_ms: int = 0) -> Wallet:
        period = period_at(line.period, now_ms)
        start = max(spent, line.spent_at_start(period.label))
        wallet = self._found[line.key] = Wallet(period, start, now_ms=now_ms, read_ms=read_ms)
        return wallet

    def _add(self, lines: Sequence[BudgetLine], spent: Mapping[str, int], now_ms: int) -> None:
        for line in lines:
            if line.key not in self._found:
                self._begin(line, spent.get(line.key, 0), now_ms, read_ms=now_ms if line.key in spent else 0)

    async def _spent(self, lines: Sequence[BudgetLine]) -> Mapping[str, int]:
        return {} if self._ask is None else await spent_or_nothing(self._ask, lines)

    def _read_again(self, budgets: Sequence[BudgetLine]) -> None:
        lines = [line for line in budgets if line.key in self._found]
        wallets = [self._found[line.key] for line in lines]
        for wallet in wallets:
            wallet.reading = True
        self._start(self._read(lines, wallets))

    async def _read(self, lines: Sequence[BudgetLine], wallets: Sequence[Wallet]) -> None:
        try:
            spent = await self._spent(lines)
        finally:
            for wallet in wallets:
                wallet.reading = False
        now_ms = int(self._clock() * 1000)
        for line, wallet in zip(lines, wallets, strict=True):
            if wallet.ends_ms > now_ms:  # else what was asked for may be of the next period
                wallet.learn(spent.get(line.key, 0), now_ms)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def spent_or_nothing(ask: Spent, lines: Sequence[BudgetLine]) -> Mapping[str, int]:
    """What the database says was spent; nothing while it is away."""
    try:
        return await ask(lines)
    except Exception as error:
        logger.warning("limits.spent_unknown", error=type(error).__name__, detail=str(error))
        return {}
