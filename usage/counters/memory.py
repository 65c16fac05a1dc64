"""Counts in this process alone: exact when it is the only one.

With `workers` processes beside each other each enforces its share of every limit, and may commit its share of what is
left of a budget; the database tells each every few seconds what all of them have spent. So a limit is never exceeded,
though a caller whose calls all reach one process is held to that one's share. A budget can only be exceeded by calls
that overlap: what the others are doing is not seen before it ends and is in the database.

Nothing here waits between looking and counting, so calls of one event loop need no locks.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

from usage.admission import (
    MAX_TOKENS,
    MAX_UNITS,
    PARALLEL,
    REQUESTS,
    Admission,
    BudgetLine,
    Limit,
    Refused,
    Spent,
    Standing,
)
from usage.counters.verdicts import MAX_DEBT_MINUTES, MINUTE_MS, check_numbers, headers, refusal, share_of
from usage.counters.wallets import Wallet, Wallets

SWEPT_EVERY: Final = 64  # admissions
SWEPT_AT_ONCE: Final = 256  # keys


class _Bucket:
    __slots__ = ("at_ms", "debt")

    def __init__(self, at_ms: int) -> None:
        self.debt = 0
        self.at_ms = at_ms


class MemoryCounters:
    """Belongs to one event loop. `spent` asks the database; without it, counting starts from what the lines say."""

    def __init__(self, *, workers: int = 1, spent: Spent | None = None, clock: Callable[[], float] = time.time) -> None:
        if workers < 1:
            raise ValueError("There is at least one worker.")
        self.wallets = Wallets(spent, shared=workers > 1, clock=clock)
        self._workers = workers
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._running: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._until_sweep = SWEPT_EVERY
        self._hand: list[str] = []

    def __len__(self) -> int:
        return len(self._buckets) + len(self.wallets) + len(self._running)

    async def close(self) -> None:
        await self.wallets.close()

    # --- Admit ------------------------------------------------------------------------------------------------------

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, tokens: int, units: int | None, now: float
    ) -> Admission:
        now_ms = check_numbers(tokens, units, now)
        wallets: list[Wallet] = []
        if budgets:
            known_wallets = self.wallets.collect(budgets, now_ms)
            wallets = await self.wallets.open(budgets, now_ms) if known_wallets is None else known_wallets

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
            if debt + cost > share * MINUTE_MS and (debt or cost > amount * MINUTE_MS):
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
        wallets: Sequence[Wallet],
        *,
        tokens: int,
        units: int | None,
        now_ms: int,
    ) -> Refused:
        left = [wallet.left(line.amount_units, self._workers) for line, wallet in zip(budgets, wallets, strict=True)]
        periods = [wallet.period for wallet in wallets]
        asked = {"tokens": tokens, "now_ms": now_ms, "workers": self._workers}
        refused = refusal(limits, debts, budgets, left, periods, units=units, **asked)
        assert refused is not None, "what is not allowed has a reason"  # noqa: S101
        return refused

    # --- Settle -----------------------------------------------------------------------------------------------------

    async def settle(self, admission: Admission, *, tokens: int | None, units: int | None) -> None:
        """Never waits."""
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
            assert isinstance(wallet, Wallet)  # noqa: S101
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

    # --- Look -------------------------------------------------------------------------------------------------------

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
        return Standing(used, [self.wallets.money(line, now_ms) for line in budgets])

    # --- Memory -----------------------------------------------------------------------------------------------------

    def _sweep(self, now_ms: int) -> None:
        """Forget a few keys that say nothing any more: drained buckets, budgets that nobody uses."""
        self._until_sweep = SWEPT_EVERY
        if not self._hand:
            self._hand = [*self._buckets, *self.wallets.keys()]
        drained_ms = MINUTE_MS * max(MAX_DEBT_MINUTES, self._workers)
        for key in self._hand[-SWEPT_AT_ONCE:]:
            bucket = self._buckets.get(key)
            if bucket is not None and now_ms - bucket.at_ms > drained_ms:
                del self._buckets[key]
            self.wallets.forget_idle(key, now_ms)
        del self._hand[-SWEPT_AT_ONCE:]
