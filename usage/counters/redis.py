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
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from usage.admission import (
    MAX_TOKENS,
    MAX_UNITS,
    PARALLEL,
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
from usage.counters import scripts
from usage.counters.carrier import Argument, Away, Carrier
from usage.counters.memory import MemoryCounters
from usage.counters.verdicts import Left, check_numbers, cost_of, headers, refusal, unpriced

logger = structlog.get_logger(__name__)

TIMEOUT_S: Final = 0.05
LEASE_S: Final = 30.0
READ_EVERY_S: Final = 10.0
MAX_REMEMBERED: Final = 20_000  # budgets
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
        self._carrier = Carrier(url, timeout_s=timeout_s, recovered=self._recovered)
        self._prefix = prefix
        if without not in ("memory", "refuse"):
            raise ValueError(f"Without Redis, calls are counted in memory or refused, not {without!r}.")
        self._refuses = without == "refuse"
        self._ask = spent
        self._lease_ms = int(lease_s * 1000)
        self._server_time = server_time
        self._clock = clock
        self._local = MemoryCounters(workers=workers, spent=spent, clock=clock)
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._held: dict[str, _Held] = {}
        self._known: dict[str, _Known] = {}
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
        await self._local.close()
        await self._carrier.close()

    # --- Admit ------------------------------------------------------------------------------------------------------

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, tokens: int, units: int | None, now: float
    ) -> Admission:
        now_ms = check_numbers(tokens, units, now)
        if not limits and not budgets:
            return Admission("", limits, budgets, tokens, units or 0, {}, now_ms)
        periods = [period_at(line.period, now_ms) for line in budgets]
        if units is None and (refused := unpriced(budgets)) is not None:
            raise refused
        try:
            return await self._admit(limits, budgets, periods, tokens, units, now_ms)
        except Away:
            if self._refuses:
                raise _nobody_counts() from None
        for line, period in zip(budgets, periods, strict=True):
            known = self._known.get(line.key)
            if known is not None and known.period == period:
                self._local.begin(line, known.committed, now_ms)
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
        name = f"{self._name}-{next(self._numbers)}"
        keys = self._keys(limits, budgets, periods)
        reserved = units or 0
        arguments: list[Argument] = [
            self._time(now_ms), self._lease_ms, name, tokens, reserved, 1 if units is None else reserved, len(limits),
        ]  # fmt: skip
        for limit in limits:
            arguments += (limit.kind, limit.amount)
        arguments += [line.amount_units if line.blocks else "" for line in budgets]
        held = _Held(name, limits, keys, reserved)
        for _ in range(3):
            reply = await self._carrier.run(
                scripts.ADMIT, keys, arguments, orphaned=lambda reply: self._orphaned(held, reply)
            )
            if reply[0] != _NOT_THERE:
                break
            await self._seed(budgets, periods)
        else:
            raise Away("it forgets what it is told")
        allowed, at_ms, debts = reply[0] == 1, int(reply[1]), [int(debt) for debt in reply[2 : 2 + len(limits)]]
        money = [int(text) for text in reply[2 + len(limits) :]]
        self._learn(budgets, periods, money, reserved if allowed else 0, now_ms)
        if not allowed:
            left = [
                Left(line.amount_units - money[2 * index], line.amount_units - money[2 * index + 1])
                for index, line in enumerate(budgets)
            ]
            refused = refusal(
                limits, debts, budgets, left, periods, tokens=tokens, units=units, now_ms=at_ms, workers=1
            )
            raise refused or _nobody_counts()
        debts = [
            debt + (1 if limit.kind == PARALLEL else cost_of(limit, tokens))
            for limit, debt in zip(limits, debts, strict=True)
        ]
        if held.is_leased:
            self._held[name] = held
            if self._renewing is None:
                self._renewing = asyncio.create_task(self._renew(), name="limits-leases")
        sent = headers(limits, debts, 1)
        return Admission(name, limits, budgets, tokens, reserved, sent, at_ms, debts, (), periods)

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
        if admission.wallets or not admission.id.startswith(self._name):
            await self._settle_local(admission, tokens=tokens, units=units)
            return
        admission.settled = True
        held = self._held.pop(admission.id, None)
        more = 0 if tokens is None else min(max(tokens, 0), MAX_TOKENS) - admission.tokens_reserved
        spent = admission.units_reserved if units is None else min(max(units, 0), MAX_UNITS)
        counted = more != 0 and any(limit.kind == "tokens" for limit in admission.limits)
        if held is None and not counted and not admission.budgets:
            return
        arguments: list[Argument] = [
            self._time(), admission.id, more, admission.at_ms, spent, admission.units_reserved, len(admission.limits),
        ]  # fmt: skip
        for limit, debt in zip(admission.limits, admission.debts, strict=True):
            arguments += (limit.kind, limit.amount, debt)
        for line, period in zip(admission.budgets, admission.periods, strict=True):
            known = self._known.get(line.key)
            if known is not None and known.period == period:
                known.spent += spent
        keys = held.keys if held else self._keys(admission.limits, admission.budgets, admission.periods)
        await self._quietly(scripts.SETTLE, keys, arguments)

    async def _settle_local(self, admission: Admission, *, tokens: int | None, units: int | None) -> None:
        """One that this process counted by itself. If Redis is back, it has to hear what was spent."""
        await self._local.settle(admission, tokens=tokens, units=units)
        spent = admission.units_reserved if units is None else min(max(units, 0), MAX_UNITS)
        if spent and admission.budgets and not self.is_away:
            periods = [period_at(line.period, admission.at_ms) for line in admission.budgets]
            arguments: list[Argument] = [self._time(), admission.id, 0, 0, spent, 0, 0]
            await self._quietly(scripts.SETTLE, self._keys((), admission.budgets, periods), arguments)

    async def look(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, now: float) -> Standing | None:
        now_ms = int(now * 1000)
        keys = look_keys(self._prefix, limits, budgets, now_ms)
        try:
            reply = await self._carrier.run(scripts.LOOK, keys, [self._time(now_ms), *look_arguments(limits)])
        except Away:
            return None if self._refuses else await self._local.look(limits, budgets, now=now)
        return standing_of(reply, len(limits))

    # --- What was spent, as the database says -----------------------------------------------------------------------

    async def _seed(self, budgets: Sequence[BudgetLine], periods: Sequence[Period]) -> None:
        """Tell Redis where counting starts: where the database is, and never below what this process knows."""
        spent = await self._spent(budgets)
        starts: dict[str, int] = {}
        for line, period in zip(budgets, periods, strict=True):
            known = self._known.get(line.key)
            before = known.spent if known is not None and known.period == period else 0
            starts[line.key] = max(spent.get(line.key, 0), line.spent_at_start(period.label), before)
        await self._raise_to(budgets, periods, starts)

    async def _raise_to(
        self, budgets: Sequence[BudgetLine], periods: Sequence[Period], spent: Mapping[str, int]
    ) -> None:
        arguments: list[Argument] = [self._time()]
        for line, period in zip(budgets, periods, strict=True):
            arguments += (spent[line.key], period.ends_ms)
        await self._carrier.run(scripts.SEED, self._keys((), budgets, periods)[::2], arguments)

    async def _spent(self, budgets: Sequence[BudgetLine]) -> Mapping[str, int]:
        if self._ask is None:
            return {}
        try:
            return await self._ask(budgets)
        except Exception as error:
            logger.warning("limits.spent_unknown", error=type(error).__name__, detail=str(error))
            return {}

    def _learn(
        self,
        budgets: Sequence[BudgetLine],
        periods: Sequence[Period],
        money: Sequence[int],
        reserved: int,
        now_ms: int,
    ) -> None:
        """Remember what Redis said, for when it is away; compare it with the database from time to time."""
        stale = False
        for index, (line, period) in enumerate(zip(budgets, periods, strict=True)):
            known = self._known.get(line.key)
            if known is None or known.period != period:
                known = self._known[line.key] = _Known(line, period, now_ms)
                if len(self._known) > MAX_REMEMBERED:
                    del self._known[next(iter(self._known))]
            known.line = line
            known.committed, known.spent = money[2 * index] + reserved, money[2 * index + 1]
            stale = stale or (now_ms - known.read_ms > READ_EVERY_S * 1000 and not known.reading)
        if stale and self._ask is not None:
            self._start(self._compare([self._known[line.key] for line in budgets]))

    async def _compare(self, known: Sequence[_Known]) -> None:
        """Raise what Redis knows to what the database said one reading ago: all of that has been settled by now, so
        that no call is counted twice. It finds what a process left in its spool when it died."""
        for each in known:
            each.reading = True
        try:
            spent = await self._spent([each.line for each in known])
            for each in known:
                each.last_read, before = spent.get(each.line.key, 0), each.last_read
                each.read_ms = int(self._clock() * 1000)
                if before > each.spent:
                    await self._raise_to([each.line], [each.period], {each.line.key: before})
        except Away:
            pass
        finally:
            for each in known:
                each.reading = False

    async def _recovered(self) -> None:
        """Redis answers again: before anybody uses it, it learns what was spent while it was away."""
        now_ms = int(self._clock() * 1000)
        current = [each for each in self._known.values() if each.period.ends_ms > now_ms]
        for start in range(0, len(current), 100):
            for tenant in _by_tenant(current[start : start + 100]):
                await self._seed([each.line for each in tenant], [each.period for each in tenant])
        self._local.forget_budgets()

    # --- Leases -----------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renew the leases of the calls that are running, until there are none."""
        while self._held:
            await asyncio.sleep(self._lease_ms / 3000)
            for held in list(self._held.values()):
                if held.name not in self._held:
                    continue
                if held.is_new:  # made a moment ago
                    held.is_new = False
                    continue
                keys = [key for key, limit in zip(held.keys, held.limits, strict=False) if limit.kind == PARALLEL]
                money = held.keys[len(held.limits) :]
                arguments: list[Argument] = [self._time(), self._lease_ms, held.name, held.units, len(keys)]
                self._start(self._quietly(scripts.RENEW, [*keys, *money], arguments))
        self._renewing = None

    # --- Small parts ------------------------------------------------------------------------------------------------

    def _keys(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], periods: Sequence[Period]) -> list[str]:
        return _keys(self._prefix, limits, budgets, periods)

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


class _Known:
    """What Redis last said of a budget, and what the database did."""

    __slots__ = ("committed", "last_read", "line", "period", "read_ms", "reading", "spent")

    def __init__(self, line: BudgetLine, period: Period, read_ms: int) -> None:
        self.line = line
        self.period = period
        self.committed = self.spent = self.last_read = 0
        self.read_ms = read_ms
        self.reading = False


def look_keys(prefix: str, limits: Sequence[Limit], budgets: Sequence[BudgetLine], now_ms: int) -> list[str]:
    """The keys that the script LOOK reads."""
    return _keys(prefix, limits, budgets, [period_at(line.period, now_ms) for line in budgets])


def look_arguments(limits: Sequence[Limit]) -> list[Argument]:
    """What LOOK is told after the time."""
    return [len(limits), *(argument for limit in limits for argument in (limit.kind, limit.amount))]


def _keys(prefix: str, limits: Sequence[Limit], budgets: Sequence[BudgetLine], periods: Sequence[Period]) -> list[str]:
    keys = [f"{prefix}{limit.key}" for limit in limits]
    for line, period in zip(budgets, periods, strict=True):
        keys += (f"{prefix}{line.key}:{period.label}", f"{prefix}{line.key}:{period.label}:reserved")
    return keys


def standing_of(reply: Sequence[Any], limits: int) -> Standing:
    """What the script LOOK said of so many limits and the budgets after them."""
    texts = reply[1 + limits :]
    money = [
        Money(int(spent), int(committed) - int(spent)) if spent else None
        for committed, spent in zip(texts[::2], texts[1::2], strict=True)
    ]
    return Standing([int(used) for used in reply[1 : 1 + limits]], money)


def _by_tenant(known: Iterable[_Known]) -> list[list[_Known]]:
    """Those of one slot of a cluster together."""
    found: dict[str, list[_Known]] = {}
    for each in known:
        found.setdefault(each.line.key.partition("}")[0], []).append(each)
    return list(found.values())


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
