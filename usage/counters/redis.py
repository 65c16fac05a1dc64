"""Counts for all processes together, in Redis: one round trip to admit, one to settle, and Redis's own clock.

No call waits longer than `timeout_s` for Redis, and that once: then this process counts by itself (`without` "memory",
from what it knew last) or refuses calls that are limited ("refuse"), until Redis answers again. What was spent is then
taken from the database, and so it is whenever Redis has lost it; while calls are made it is compared every few seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from usage.admission import (
    MAX_TOKENS,
    MAX_UNITS,
    PARALLEL,
    TOKENS,
    Admission,
    BudgetLine,
    Limit,
    Period,
    Refused,
    Spent,
    Standing,
    period_at,
)
from usage.counters import scripts
from usage.counters.carrier import Away, Carrier
from usage.counters.keys import Argument, keys_of, look_arguments, look_keys, standing_of
from usage.counters.known import KnownBudgets
from usage.counters.memory import MemoryCounters
from usage.counters.verdicts import Left, check_numbers, cost_of, headers, refusal, unpriced

TIMEOUT_S: Final = 0.05
LEASE_S: Final = 30.0
SEEDED_AT_MOST: Final = 3  # times for one call
_NOT_THERE: Final = -1


class RedisCounters:
    """Belongs to one event loop. `server_time=False` counts by the caller's clock, for tests that play with time."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "llmadmin:",
        without: str = "memory",
        workers: int = 1,
        spent: Spent | None = None,
        timeout_s: float = TIMEOUT_S,
        lease_s: float = LEASE_S,
        server_time: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if without not in ("memory", "refuse"):
            raise ValueError(f"Without Redis, calls are counted in memory or refused, not {without!r}.")
        self._carrier = Carrier(url, timeout_s=timeout_s, recovered=self._recovered)
        self._prefix = prefix
        self._refuses = without == "refuse"
        self._lease_ms = int(lease_s * 1000)
        self._server_time = server_time
        self._clock = clock
        self._local = MemoryCounters(workers=workers, spent=spent, clock=clock)
        self._known = KnownBudgets(spent, self._raise_to, clock=clock)
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._held: dict[str, _Held] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_away(self) -> bool:
        """Whether Redis does not answer, and this process counts by itself or refuses."""
        return self._carrier.is_away

    async def close(self) -> None:
        tasks = [*self._tasks, *([self._renewing] if self._renewing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._known.close()
        await self._local.close()
        await self._carrier.close()

    # --- Admit ------------------------------------------------------------------------------------------------------

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, tokens: int, units: int | None, now: float
    ) -> Admission:
        now_ms = check_numbers(tokens, units, now)
        if not limits and not budgets:
            return Admission("", limits, budgets, tokens, units or 0, {}, now_ms)
        if units is None and (refused := unpriced(budgets)) is not None:
            raise refused
        periods = [period_at(line.period, now_ms) for line in budgets]
        try:
            return await self._admit(limits, budgets, periods, tokens, units, now_ms)
        except Away:
            if self._refuses:
                raise _nobody_counts() from None
        for line, period in zip(budgets, periods, strict=True):
            if (committed := self._known.committed(line, period)) is not None:
                self._local.wallets.begin(line, committed, now_ms)
        return await self._local.admit(limits, budgets, tokens=tokens, units=units, now=now)

    async def _admit(
        self,
        limits: Sequence[Limit],
        budgets: Sequence[BudgetLine],
        periods: Sequence[Period],
        tokens: int,
        units: int | None,
        now_ms: int,
    ) -> Admission:
        name, reserved = f"{self._name}-{next(self._numbers)}", units or 0
        held = _Held(name, limits, keys_of(self._prefix, limits, budgets, periods), reserved)
        wanted = 1 if units is None else reserved  # of an unknown cost, the smallest
        arguments = [self._time(now_ms), self._lease_ms, name, tokens, reserved, wanted, *look_arguments(limits)]
        arguments += [line.amount_units if line.blocks else "" for line in budgets]
        for _ in range(SEEDED_AT_MOST):
            reply = await self._carrier.run(
                scripts.ADMIT, held.keys, arguments, orphaned=lambda reply: self._orphaned(held, reply)
            )
            if reply[0] != _NOT_THERE:
                break
            await self._known.seed(budgets, periods)
        else:
            raise Away("it forgets what it is told")
        allowed, at_ms, debts = reply[0] == 1, int(reply[1]), [int(debt) for debt in reply[2 : 2 + len(limits)]]
        texts = reply[2 + len(limits) :]
        money = [(int(committed), int(spent)) for committed, spent in zip(texts[::2], texts[1::2], strict=True)]
        added = reserved if allowed else 0
        self._known.learn(budgets, periods, [(committed + added, spent) for committed, spent in money], now_ms)
        if not allowed:
            left = [
                Left(line.amount_units - committed, line.amount_units - spent)
                for line, (committed, spent) in zip(budgets, money, strict=True)
            ]
            asked = {"tokens": tokens, "now_ms": at_ms, "workers": 1}
            raise refusal(limits, debts, budgets, left, periods, units=units, **asked) or _nobody_counts()
        for index, limit in enumerate(limits):
            debts[index] += 1 if limit.kind == PARALLEL else cost_of(limit, tokens)
        if held.is_leased:
            self._hold(held)
        return Admission(name, limits, budgets, tokens, reserved, headers(limits, debts, 1), at_ms, debts, (), periods)

    def _orphaned(self, held: _Held, reply: Any) -> None:
        """Whoever asked for it was cancelled before the answer came."""
        if reply[0] == 1:
            arguments = [self._time(), held.name, 0, 0, 0, held.units, len(held.limits)]
            for limit in held.limits:
                arguments += (limit.kind, limit.amount, 0)
            self._start(self._quietly(scripts.SETTLE, held.keys, arguments))

    # --- Settle -----------------------------------------------------------------------------------------------------

    async def settle(self, admission: Admission, *, tokens: int | None, units: int | None) -> None:
        if admission.settled:
            return
        spent = admission.units_reserved if units is None else min(max(units, 0), MAX_UNITS)
        limits, budgets, periods = admission.limits, admission.budgets, admission.periods
        more, reserved = 0, admission.units_reserved
        if not admission.id.startswith(self._name):  # counted by this process alone, while Redis was away
            await self._local.settle(admission, tokens=tokens, units=units)
            limits, reserved = (), 0
            periods = [period_at(line.period, admission.at_ms) for line in budgets]
            if not spent or not budgets or self.is_away:
                return
        elif tokens is not None and any(limit.kind == TOKENS for limit in limits):
            more = min(max(tokens, 0), MAX_TOKENS) - admission.tokens_reserved
        admission.settled = True
        held = self._held.pop(admission.id, None)
        if held is None and not more and not budgets:
            return
        self._known.settle(budgets, periods, spent=spent, reserved=reserved)
        arguments = [self._time(), admission.id, more, admission.at_ms, spent, reserved, len(limits)]
        for limit, debt in zip(limits, admission.debts if limits else (), strict=True):
            arguments += (limit.kind, limit.amount, debt)
        keys = keys_of(self._prefix, limits, budgets, periods)
        await self._quietly(scripts.SETTLE, keys, arguments)

    async def look(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, now: float) -> Standing | None:
        now_ms = int(now * 1000)
        keys = look_keys(self._prefix, limits, budgets, now_ms)
        try:
            reply = await self._carrier.run(scripts.LOOK, keys, [self._time(now_ms), *look_arguments(limits)])
        except Away:
            return None if self._refuses else await self._local.look(limits, budgets, now=now)
        return standing_of(reply, len(limits))

    # --- What was spent ---------------------------------------------------------------------------------------------

    async def _raise_to(
        self, budgets: Sequence[BudgetLine], periods: Sequence[Period], spent: Mapping[str, int]
    ) -> None:
        arguments = [self._time()]
        for line, period in zip(budgets, periods, strict=True):
            arguments += (spent[line.key], period.ends_ms)
        await self._carrier.run(scripts.SEED, keys_of(self._prefix, (), budgets, periods)[::2], arguments)

    async def _recovered(self) -> None:
        """Redis answers again: before anybody uses it, it learns what was spent while it was away."""
        await self._known.seed_all()
        self._local.wallets.clear()

    # --- Leases -----------------------------------------------------------------------------------------------------

    def _hold(self, held: _Held) -> None:
        self._held[held.name] = held
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(), name="limits-leases")

    async def _renew(self) -> None:
        """Renew the leases of the calls that are running, until there are none."""
        while self._held:
            await asyncio.sleep(self._lease_ms / 3000)
            for held in list(self._held.values()):
                if held.is_new:  # made a moment ago
                    held.is_new = False
                    continue
                slots = [key for key, limit in zip(held.keys, held.limits, strict=False) if limit.kind == PARALLEL]
                money = held.keys[len(held.limits) :]
                arguments = [self._time(), self._lease_ms, held.name, held.units, len(slots)]
                self._start(self._quietly(scripts.RENEW, [*slots, *money], arguments))
        self._renewing = None

    # --- Small parts ------------------------------------------------------------------------------------------------

    def _time(self, now_ms: int | None = None) -> Argument:
        if self._server_time:
            return ""
        return int(self._clock() * 1000) if now_ms is None else now_ms

    async def _quietly(self, script: scripts.Script, keys: Sequence[str], arguments: Sequence[Argument]) -> None:
        with suppress(Away):  # leases end by themselves, and the database knows what was spent
            await self._carrier.run(script, keys, arguments)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Held:
    """What an admission holds in Redis until it is settled."""

    __slots__ = ("is_new", "keys", "limits", "name", "units")

    def __init__(self, name: str, limits: Sequence[Limit], keys: Sequence[str], units: int) -> None:
        self.name = name
        self.limits = limits
        self.keys = keys
        self.units = units
        self.is_new = True

    @property
    def is_leased(self) -> bool:
        return self.units > 0 or any(limit.kind == PARALLEL for limit in self.limits)


def _nobody_counts() -> Refused:
    return Refused(
        "The limits of this call cannot be checked now.",
        kind="unavailable",
        scope="",
        code="unavailable",
        status=503,
        retry_after_s=1,
        hint="Try again shortly.",
    )
