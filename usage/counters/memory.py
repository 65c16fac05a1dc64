"""Counts in this process alone: exact when it is the only one.

With `workers` processes beside each other each enforces its share of every limit, and may commit its share of what is
left of a budget; the database tells each every few seconds what all of them have spent. So a limit is never exceeded,
though a caller whose calls all reach one process is held to that one's share. A budget can only be exceeded by calls
that overlap: what the others are doing is not seen before it ends and is in the database.

Nothing here waits between looking and counting, so calls of one event loop need no locks.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from usage.admission import (
    MAX_TOKENS,
    MAX_UNITS,
    PARALLEL,
    REQUESTS,
    Admission,
    BudgetLine,
    Limit,
    Money,
    Period,
    Refused,
    Spent,
    Standing,
    period_at,
)
from usage.counters.verdicts import MAX_DEBT_MINUTES, MINUTE_MS, Left, check_numbers, headers, refusal, share_of

logger = structlog.get_logger(__name__)

READ_EVERY_MS = 10_000  # how often the database is asked what was spent, while calls are made
READ_EVERY_MS_SHARED = 2_000  # likewise, with other processes beside this one
IDLE_MS = 15 * 60_000  # a budget that was not used for so long is forgotten, and read again when it is
SWEPT_EVERY = 64  # admissions
SWEPT_AT_ONCE = 256  # keys


class _Bucket:
    __slots__ = ("at_ms", "debt")

    def __init__(self, at_ms: int) -> None:
        self.debt = 0
        self.at_ms = at_ms


class _Wallet:
    """What was spent from a budget in one period, as far as this process knows."""

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
        when_idle = amount - self.spent
        if workers == 1:
            return Left(when_idle - self.reserved, when_idle)
        return Left((amount - self.base) // workers - (self.spent - self.base) - self.reserved, when_idle)


class MemoryCounters:
    """Belongs to one event loop. `spent` asks the database; without it, counting starts from what the lines say."""

    def __init__(self, *, workers: int = 1, spent: Spent | None = None, clock: Callable[[], float] = time.time) -> None:
        if workers < 1:
            raise ValueError("There is at least one worker.")
        self._workers = workers
        self._ask = spent
        self._clock = clock
        self._read_every_ms = READ_EVERY_MS if workers == 1 else READ_EVERY_MS_SHARED
        self._buckets: dict[str, _Bucket] = {}
        self._running: dict[str, int] = {}
        self._wallets: dict[str, _Wallet] = {}
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._until_sweep = SWEPT_EVERY
        self._hand: list[str] = []

    def __len__(self) -> int:
        return len(self._buckets) + len(self._wallets) + len(self._running)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- Admit ------------------------------------------------------------------------------------------------------

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, tokens: int, units: int | None, now: float
    ) -> Admission:
        now_ms = check_numbers(tokens, units, now)
        wallets: list[_Wallet] = []
        if budgets and not self._wallets_of(budgets, now_ms, wallets):
            await self._open(budgets, now_ms)
            wallets.clear()
            self._wallets_of(budgets, now_ms, wallets)

        # From here to the end nothing waits.
        workers, known, running = self._workers, self._buckets, self._running
        allowed = True
        debts: list[int] = []
        buckets: list[_Bucket | None] = []
        costs: list[int] = []
        for limit in limits:
            amount, key = limit.amount, limit.key
            if limit.kind == PARALLEL:
                count = running.get(key, 0)
                allowed = allowed and count < (amount if workers == 1 else share_of(amount, workers))
                debts.append(count)
                buckets.append(None)
                costs.append(1)
                continue
            share = amount if workers == 1 else share_of(amount, workers)
            bucket = known.get(key)
            if bucket is None:
                bucket = known[key] = _Bucket(now_ms)
                debt = 0
            elif (elapsed := now_ms - bucket.at_ms) > 0:
                debt = bucket.debt - elapsed * share
                if debt < 0:
                    debt = 0
                bucket.debt = debt
                bucket.at_ms = now_ms
            else:
                debt = bucket.debt
            cost = MINUTE_MS if limit.kind == REQUESTS else tokens * MINUTE_MS
            room = share * MINUTE_MS
            if debt + cost > room and (debt or cost > amount * MINUTE_MS):
                allowed = False
            debts.append(debt)
            buckets.append(bucket)
            costs.append(cost)
        for line, wallet in zip(budgets, wallets, strict=True):
            if line.blocks:
                left = wallet.left(line.amount_units, workers).now
                if units is None:
                    allowed = allowed and line.allows_unpriced and left > 0
                elif units and units > left:
                    allowed = False
        if not allowed:
            raise self._refusal(limits, debts, budgets, wallets, tokens=tokens, units=units, now_ms=now_ms)

        reserved = units or 0
        for index, bucket in enumerate(buckets):
            after = debts[index] = debts[index] + costs[index]
            if bucket is None:
                running[limits[index].key] = after
            else:
                bucket.debt = after
        for wallet in wallets:
            wallet.reserved += reserved
        self._until_sweep -= 1
        if not self._until_sweep:
            self._sweep(now_ms)
        sent = headers(limits, debts, workers) if limits else {}
        return Admission(str(next(self._numbers)), limits, budgets, tokens, reserved, sent, now_ms, debts, wallets)

    def _refusal(
        self,
        limits: Sequence[Limit],
        debts: Sequence[int],
        budgets: Sequence[BudgetLine],
        wallets: Sequence[_Wallet],
        *,
        tokens: int,
        units: int | None,
        now_ms: int,
    ) -> Refused:
        left = [wallet.left(line.amount_units, self._workers) for line, wallet in zip(budgets, wallets, strict=True)]
        periods = [wallet.period for wallet in wallets]
        refused = refusal(
            limits,
            debts,
            budgets,
            left,
            periods,
            tokens=tokens,
            units=units,
            now_ms=now_ms,
            workers=self._workers,
        )
        assert refused is not None, "what is not allowed has a reason"  # noqa: S101
        return refused

    # --- Settle -----------------------------------------------------------------------------------------------------

    async def settle(self, admission: Admission, *, tokens: int | None, units: int | None) -> None:
        if admission.settled:
            return
        admission.settled = True
        now_ms = int(self._clock() * 1000)
        for limit, debt in zip(admission.limits, admission.debts, strict=True):
            if limit.kind == PARALLEL:
                count = self._running.get(limit.key, 0) - 1
                if count > 0:
                    self._running[limit.key] = count
                else:
                    self._running.pop(limit.key, None)
            elif limit.kind != REQUESTS and tokens is not None and tokens != admission.tokens_reserved:
                self._correct(limit, debt, tokens - admission.tokens_reserved, admission.at_ms, now_ms)
        spent = admission.units_reserved if units is None else min(max(units, 0), MAX_UNITS)
        for wallet in admission.wallets:
            assert isinstance(wallet, _Wallet)  # noqa: S101
            wallet.reserved -= admission.units_reserved
            wallet.spent += spent

    def _correct(self, limit: Limit, debt_then: int, more: int, at_ms: int, now_ms: int) -> None:
        """Charge what an estimate was short of; give back what it was too much by, as far as it has not drained yet."""
        share = share_of(limit.amount, self._workers)
        bucket = self._buckets.get(limit.key)
        if bucket is None:
            bucket = self._buckets[limit.key] = _Bucket(now_ms)
        debt = max(0, bucket.debt - max(0, now_ms - bucket.at_ms) * share)
        bucket.at_ms = max(bucket.at_ms, now_ms)
        change = min(more, MAX_TOKENS) * MINUTE_MS
        if change < 0:
            undrained = max(0, debt_then - max(0, now_ms - at_ms) * share)
            bucket.debt = max(0, debt - min(-change, undrained))
        else:
            bucket.debt = min(debt + change, max(debt, share * MINUTE_MS * MAX_DEBT_MINUTES))

    async def look(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, now: float) -> Standing:
        return self.standing(limits, budgets, now=now)

    def standing(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, now: float) -> Standing:
        """The same as `look`, for other threads as well."""
        now_ms = int(now * 1000)
        used: list[int] = []
        for limit in limits:
            bucket = self._buckets.get(limit.key)
            if bucket is None:
                used.append(self._running.get(limit.key, 0))
            else:
                drained = max(0, now_ms - bucket.at_ms) * share_of(limit.amount, self._workers)
                used.append(max(0, bucket.debt - drained))
        money: list[Money | None] = []
        for line in budgets:
            wallet = self._wallets.get(line.key)
            known = wallet is not None and now_ms < wallet.ends_ms
            money.append(Money(wallet.spent, wallet.reserved) if wallet is not None and known else None)
        return Standing(used, money)

    # --- Budgets ----------------------------------------------------------------------------------------------------

    def _wallets_of(self, budgets: Sequence[BudgetLine], now_ms: int, found: list[_Wallet]) -> bool:
        """Collect the wallets of the running period; False if one has to be opened first."""
        for line in budgets:
            wallet = self._wallets.get(line.key)
            if wallet is None:
                return False
            if now_ms >= wallet.ends_ms:  # a new period: nothing can have been spent in it yet but by the others
                period = period_at(line.period, now_ms)
                start = line.spent_at_start(period.label)
                wallet = self._wallets[line.key] = _Wallet(period, start, now_ms=now_ms, read_ms=0)
            wallet.used_ms = now_ms
            if now_ms - wallet.read_ms >= self._read_every_ms and self._ask is not None and not wallet.reading:
                self._read_again(budgets)
            found.append(wallet)
        return True

    def begin(self, line: BudgetLine, committed: int, now_ms: int) -> None:
        """Start to count a budget from what somebody else knew, unless it is counted here already."""
        wallet = self._wallets.get(line.key)
        if wallet is None or now_ms >= wallet.ends_ms:
            self._wallets[line.key] = _Wallet(period_at(line.period, now_ms), committed, now_ms=now_ms, read_ms=0)

    def forget_budgets(self) -> None:
        """Somebody else counts them from now on; running calls are still settled here."""
        self._wallets.clear()

    async def _open(self, budgets: Sequence[BudgetLine], now_ms: int) -> None:
        """Make the wallets that are missing, from what the database says; all that wait for one wait together."""
        missing = [line for line in budgets if line.key not in self._wallets]
        mine = [line for line in missing if line.key not in self._opening]
        others = [self._opening[line.key] for line in missing if line.key in self._opening]
        if mine:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._opening.update((line.key, done) for line in mine)
            try:
                spent = await self._spent(mine)
            finally:
                for line in mine:
                    del self._opening[line.key]
                done.set_result(None)
            self._add(mine, spent, now_ms)
        for waiting in others:
            await asyncio.shield(waiting)
        self._add(missing, {}, now_ms)  # what somebody else was to open, and could not

    def _add(self, lines: Sequence[BudgetLine], spent: dict[str, int], now_ms: int) -> None:
        for line in lines:
            if line.key not in self._wallets:
                period = period_at(line.period, now_ms)
                start = max(spent.get(line.key, 0), line.spent_at_start(period.label))
                read_ms = now_ms if line.key in spent else 0
                self._wallets[line.key] = _Wallet(period, start, now_ms=now_ms, read_ms=read_ms)

    async def _spent(self, lines: Sequence[BudgetLine]) -> dict[str, int]:
        if self._ask is None:
            return {}
        try:
            return dict(await self._ask(lines))
        except Exception as error:
            logger.warning("limits.spent_unknown", error=type(error).__name__, detail=str(error))
            return {}

    def _read_again(self, budgets: Sequence[BudgetLine]) -> None:
        lines = [line for line in budgets if line.key in self._wallets]
        for line in lines:
            self._wallets[line.key].reading = True
        self._start(self._read(lines, [self._wallets[line.key] for line in lines]))

    async def _read(self, lines: Sequence[BudgetLine], wallets: Sequence[_Wallet]) -> None:
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

    # --- Memory -----------------------------------------------------------------------------------------------------

    def _sweep(self, now_ms: int) -> None:
        """Forget a few keys that say nothing any more: drained buckets, budgets that nobody uses."""
        self._until_sweep = SWEPT_EVERY
        if not self._hand:
            self._hand = [*self._buckets, *self._wallets]
        drained_ms = MINUTE_MS * max(MAX_DEBT_MINUTES, self._workers)
        for key in self._hand[-SWEPT_AT_ONCE:]:
            bucket, wallet = self._buckets.get(key), self._wallets.get(key)
            if bucket is not None and now_ms - bucket.at_ms > drained_ms:
                del self._buckets[key]
            if wallet is not None and not wallet.reserved and now_ms - wallet.used_ms > IDLE_MS:
                del self._wallets[key]
        del self._hand[-SWEPT_AT_ONCE:]
