"""What a call is admitted under: limits, budgets, what was set aside for it, and why it may be refused.

Plain values without Django: the gateway keeps them in its snapshot, `usage.counters` counts them.

Money is a whole number of units of 1e-10 USD, so that every backend counts it exactly. Periods are calendar days and
months in UTC. A limit of N per minute is a bucket that holds N and refills evenly: N at once, then one each 60/N s.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

UNITS_PER_USD: Final = 10**10
MAX_AMOUNT: Final = (
    10**10
)  # requests, tokens or calls that a limit can name: larger ones are not exact in every backend
MAX_TOKENS: Final = 10**9  # of one call
MAX_UNITS: Final = 10**18  # 100 million USD: the largest budget, and the most that one call can cost

LimitKind = Literal["requests", "tokens", "parallel"]
PeriodName = Literal["day", "month"]
REQUESTS: Final = "requests"
TOKENS: Final = "tokens"
PARALLEL: Final = "parallel"


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` requests or tokens a minute, or calls at a time. `scope` names it in messages: "this token"."""

    key: str
    kind: LimitKind
    amount: int
    scope: str

    def __post_init__(self) -> None:
        if self.kind not in (REQUESTS, TOKENS, PARALLEL):
            raise ValueError(f"Unknown kind of limit: {self.kind!r}.")
        _check_whole("A limit", self.amount, at_least=1, at_most=MAX_AMOUNT)


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """What may be spent in a period. One that does not block is only watched.

    `spent_units` is what the database knew to be spent in the period `spent_in` when the line was loaded; it is where
    counting starts when nothing newer can be had.
    """

    key: str
    budget_id: str
    amount_units: int
    period: PeriodName
    scope: str
    blocks: bool = True
    allows_unpriced: bool = False
    spent_units: int = 0
    spent_in: str = ""

    def __post_init__(self) -> None:
        if self.period not in ("day", "month"):
            raise ValueError(f"Unknown period: {self.period!r}.")
        _check_whole("A budget", self.amount_units, at_least=1, at_most=MAX_UNITS)
        _check_whole("What was spent", self.spent_units, at_least=0, at_most=MAX_UNITS)

    def spent_at_start(self, label: str) -> int:
        """What counting starts from in the period of that label."""
        return self.spent_units if self.spent_in == label else 0


@dataclass(slots=True)
class Admission:
    """Leave to make one call, and what was set aside for it. To be settled exactly once; a second time does nothing.

    What follows `headers` belongs to the counters.
    """

    id: str
    limits: Sequence[Limit]
    budgets: Sequence[BudgetLine]
    tokens_reserved: int
    units_reserved: int
    headers: dict[str, str]
    at_ms: int = 0
    debts: Sequence[int] = ()
    wallets: Sequence[object] = ()
    periods: Sequence[Period] = ()
    settled: bool = False


class Refused(Exception):
    """A call that must not be made now. Nothing was counted for it.

    `kind`: requests, tokens, parallel, budget, unpriced or unavailable. `code` is OpenAI's. `retry_after_s` is None
    when waiting does not help. `headers` tell OpenAI's client libraries whether to try again by themselves.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        scope: str,
        code: str = "rate_limit_exceeded",
        status: int = 429,
        retry_after_s: float | None = None,
        retries: bool = True,
        headers: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.scope = scope
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s
        self.hint = hint
        self.headers: dict[str, str] = dict(headers or {})
        if not retries or retry_after_s is None:
            self.headers["x-should-retry"] = "false"
        if retry_after_s is not None:
            self.headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))
            self.headers["retry-after-ms"] = str(max(1, math.ceil(retry_after_s * 1000)))

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Money(NamedTuple):
    """Of one budget in its running period, in units."""

    spent: int
    reserved: int


class Standing(NamedTuple):
    """How limits and budgets stand, in the order they were asked for.

    `used`: requests or tokens that have not drained yet, times 60,000, or calls that are running. Of a budget that
    was not used yet, nothing is known here.
    """

    used: list[int]
    money: list[Money | None]


class Counters(Protocol):
    """Counts what limits and budgets bound."""

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, tokens: int, units: int | None, now: float
    ) -> Admission:
        """Count one call against all of these, or against none; raises Refused.

        `tokens` is the estimate of what it will use, `units` the most that it can cost, None if that is unknown
        because the model has no price; `now` is in seconds since the epoch. Raises ValueError for numbers that are
        negative, not whole or beyond all sense.
        """
        ...

    async def settle(self, admission: Admission, *, tokens: int | None, units: int | None) -> None:
        """Put what the call really used in the place of what was set aside, and free its slots; never raises.

        None is unknown: the estimate then stands.
        """
        ...

    async def look(self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], *, now: float) -> Standing | None:
        """How these stand; None when it cannot be said. Changes nothing."""
        ...

    async def close(self) -> None:
        """End what runs in the background."""
        ...


Spent = Callable[[Sequence[BudgetLine]], Awaitable[Mapping[str, int]]]
"""Asks the database what was spent in the running period of each of these budgets: units by the line's key."""


# --- Periods --------------------------------------------------------------------------------------------------------


class Period(NamedTuple):
    """A day or month in UTC; `label` is 2026-11-20 or 2026-11, and it ends before `ends_ms`."""

    label: str
    starts_ms: int
    ends_ms: int


def period_at(period: str, at_ms: int) -> Period:
    """The running day or month at an instant in milliseconds since the epoch."""
    start = datetime.fromtimestamp(at_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "month":
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
        label = f"{start:%Y-%m}"
    else:
        end = start + timedelta(days=1)
        label = f"{start:%Y-%m-%d}"
    return Period(label, int(start.timestamp()) * 1000, int(end.timestamp()) * 1000)


# --- Money ----------------------------------------------------------------------------------------------------------


def units_of(amount: Decimal) -> int:
    """An amount of USD in units, rounded up; raises ValueError unless it is finite, not negative and not too large."""
    if not amount.is_finite() or amount < 0:
        raise ValueError("An amount of money must be finite and not negative.")
    if amount > MAX_UNITS // UNITS_PER_USD:
        raise ValueError("The amount of money is too large.")
    units = amount.scaleb(10)
    whole = int(units)  # which rounds down, and is all of it for what was priced here
    return whole if whole == units else whole + 1


def usd_of(units: int) -> Decimal:
    """The exact amount of USD."""
    return Decimal(units).scaleb(-10)


def _check_whole(what: str, value: int, *, at_least: int, at_most: int) -> None:
    if type(value) is not int or not at_least <= value <= at_most:
        raise ValueError(f"{what} must be a whole number from {at_least} to {at_most}, not {value!r}.")


# --- Which of a tenant's lines bound a call -------------------------------------------------------------------------


class LimitLine(NamedTuple):
    """A limit, and the model (`name@factory`) whose calls it bounds; "" for all."""

    model: str
    limit: Limit


class BudgetOf(NamedTuple):
    """A budget, and the factory that calls go to which it bounds; "" for all."""

    factory: str
    line: BudgetLine


@dataclass(frozen=True, slots=True)
class Lines:
    """All limits and budgets of a tenant, by the id of the token that they bound; "" for all tokens.

    `ancestors` are the tokens that a token was made with, and those were made with: it is bound by theirs too.
    """

    limits: Mapping[str, Sequence[LimitLine]] = field(default_factory=dict)
    budgets: Mapping[str, Sequence[BudgetOf]] = field(default_factory=dict)
    ancestors: Mapping[str, Sequence[str]] = field(default_factory=dict)


def applying(
    lines: Lines, token_id: str, model_id: str, factory: str
) -> tuple[tuple[Limit, ...], tuple[BudgetLine, ...]]:
    """What bounds a call with this token to this model (`name@factory`); empty for none. To be cached by the caller."""
    if not lines.limits and not lines.budgets:
        return (), ()
    whose = ("", token_id, *lines.ancestors.get(token_id, ())) if token_id else ("",)
    limits = tuple(limit for token in whose for model, limit in lines.limits.get(token, ()) if model in ("", model_id))
    budgets = tuple(line for token in whose for of, line in lines.budgets.get(token, ()) if of in ("", factory))
    return limits, budgets
