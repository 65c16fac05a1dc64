"""What both backends say about the numbers they count: headers of an answer, and the text of a refusal.

A bucket is its debt: the requests or tokens that have not drained from it yet, times MINUTE_MS. It drains `amount`
of that in a millisecond, so whole numbers are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from usage.admission import MAX_TOKENS, MAX_UNITS, PARALLEL, REQUESTS, BudgetLine, Limit, Period, Refused, usd_of

MINUTE_MS: Final = 60_000
MAX_DEBT_MINUTES: Final = 5  # a call that used far more than was estimated is paid off for at most so long


class Left(NamedTuple):
    """What a budget still allows, in units: now, and once the running calls have cost nothing."""

    now: int
    when_idle: int


def check_numbers(tokens: int, units: int | None, now: float) -> int:
    """The time in milliseconds; raises ValueError or OverflowError for what is no sensible number."""
    if type(tokens) is not int or not 0 <= tokens <= MAX_TOKENS:
        raise ValueError(f"Not a number of tokens: {tokens!r}.")
    if units is not None and (type(units) is not int or not 0 <= units <= MAX_UNITS):
        raise ValueError(f"Not an amount of money: {units!r}.")
    return int(now * 1000)


def share_of(amount: int, workers: int) -> int:
    """The part of a limit that one of several processes enforces by itself."""
    return amount if workers == 1 else max(1, amount // workers)


def cost_of(limit: Limit, tokens: int) -> int:
    """What a call adds to the debt of a bucket."""
    return MINUTE_MS if limit.kind == REQUESTS else tokens * MINUTE_MS


def wait_ms(limit: Limit, debt: int, tokens: int, workers: int) -> int | None:
    """How long until a call fits a bucket; None for never.

    One that is larger than the share of this process, but not than the limit, fits when the bucket is empty.
    """
    cost, share = cost_of(limit, tokens), share_of(limit.amount, workers)
    if cost > limit.amount * MINUTE_MS:
        return None
    excess = debt + cost - max(share * MINUTE_MS, cost)
    return -(-excess // share) if excess > 0 else 0


def headers(limits: Sequence[Limit], debts: Sequence[int], workers: int) -> dict[str, str]:
    """`x-ratelimit-…` as OpenAI sends them, each kind from the limit that leaves the least.

    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    found: dict[str, tuple[int, int, int]] = {}
    for limit, debt in zip(limits, debts, strict=True):
        kind = limit.kind
        if kind == PARALLEL:
            continue
        share = limit.amount if workers == 1 else share_of(limit.amount, workers)
        left = share - -(-debt // MINUTE_MS)
        best = found.get(kind)
        if best is None or left < best[0]:
            found[kind] = (left, limit.amount, -(-debt // share))
    made: dict[str, str] = {}
    for name, (left, amount, reset_ms) in found.items():
        made["x-ratelimit-limit-" + name] = str(amount)
        made["x-ratelimit-remaining-" + name] = str(left) if left > 0 else "0"
        made["x-ratelimit-reset-" + name] = duration(reset_ms)
    return made


def duration(ms: int) -> str:
    """As OpenAI writes it: 120ms, 1.5s, 6m0s."""
    if ms < 1000:
        return f"{ms}ms"
    if ms < MINUTE_MS:
        return f"{ms / 1000:g}s"
    minutes, rest = divmod(ms, MINUTE_MS)
    return f"{minutes}m{rest / 1000:g}s"


def refusal(
    limits: Sequence[Limit],
    debts: Sequence[int],
    budgets: Sequence[BudgetLine],
    left: Sequence[Left],
    periods: Sequence[Period],
    *,
    tokens: int,
    units: int | None,
    now_ms: int,
    workers: int,
) -> Refused | None:
    """Why a call that these numbers do not allow is refused; None if they allow it.

    Of several reasons the one that lasts longest. `debts` are those before the call; a parallel limit's is the number
    of calls that are running.
    """
    sent = headers(limits, debts, workers)
    if units is None and (refused := unpriced(budgets)) is not None:
        return refused
    for line, rest, period in zip(budgets, left, periods, strict=True):
        if (refused := _over_budget(line, rest, period, units, now_ms)) is not None:
            refused.headers = {**sent, **refused.headers}
            return refused
    worst: tuple[float, Limit] | None = None
    for limit, debt in zip(limits, debts, strict=True):
        wait: float | None
        if limit.kind == PARALLEL:
            wait = 1000 if debt >= share_of(limit.amount, workers) else 0
        else:
            wait = wait_ms(limit, debt, tokens, workers)
            if wait is None:
                return _too_large(limit, tokens, sent)
        if wait and (worst is None or wait > worst[0]):
            worst = (wait, limit)
    return _over_limit(worst[1], worst[0], sent) if worst else None


def unpriced(budgets: Sequence[BudgetLine]) -> Refused | None:
    """Why a call that nobody knows the price of is refused, if one of these budgets does."""
    line = next((line for line in budgets if line.blocks and not line.allows_unpriced), None)
    if line is None:
        return None
    return Refused(
        f"This model has no price, so its calls cannot be counted against the budget of {line.scope}.",
        kind="unpriced",
        scope=line.scope,
        code="insufficient_quota",
        hint="Give the model a price (0 if it costs nothing), or let the budget allow models without one.",
    )


def _over_limit(limit: Limit, wait: float, sent: dict[str, str]) -> Refused:
    if limit.kind == PARALLEL:
        message = f"Too many calls at a time for {limit.scope}: {limit.amount} may run together."
        hint = "Wait until one has ended."
    else:
        message = f"Rate limit reached for {limit.scope}: {limit.amount:,} {limit.kind} per minute."
        hint = f"Try again in {duration(int(wait))}."
    return Refused(message, kind=limit.kind, scope=limit.scope, retry_after_s=wait / 1000, headers=sent, hint=hint)


def _too_large(limit: Limit, tokens: int, sent: dict[str, str]) -> Refused:
    return Refused(
        f"This call is too large for {limit.scope}: it needs about {tokens:,} tokens, "
        f"and the limit is {limit.amount:,} tokens per minute.",
        kind=limit.kind,
        scope=limit.scope,
        headers=sent,
        hint="It would be refused at any time. Send less, or ask for fewer tokens (max_tokens).",
    )


def _over_budget(line: BudgetLine, left: Left, period: Period, units: int | None, now_ms: int) -> Refused | None:
    if not line.blocks:
        return None
    if (left.now > 0) if units is None else (not units or units <= left.now):
        return None
    ends = datetime.fromtimestamp(period.ends_ms / 1000, UTC)
    what = "daily" if line.period == "day" else "monthly"
    until_s = max(1, -(-(period.ends_ms - now_ms) // 1000))
    needed = units or 1
    if needed <= left.when_idle:
        message = f"What is left of the {what} budget of {line.scope} is set aside for calls that are running."
        hint, until_s, retries = "Try again when they have ended.", 1, True
    elif left.when_idle > 0:
        message = (
            f"This call may cost up to {_usd(needed)} USD, and {_usd(left.when_idle)} USD of the {what} budget of "
            f"{line.scope} is left."
        )
        hint, retries = f"Ask for fewer tokens (max_tokens), or wait until {ends:%Y-%m-%d %H:%M} UTC.", False
    else:
        message = f"The {what} budget of {line.scope} is used up: {_usd(line.amount_units)} USD."
        hint, retries = f"It starts anew at {ends:%Y-%m-%d %H:%M} UTC.", False
    return Refused(
        message,
        kind="budget",
        scope=line.scope,
        code="insufficient_quota",
        retry_after_s=until_s,
        retries=retries,
        hint=hint,
    )


def _usd(units: int) -> str:
    text = f"{usd_of(units).normalize():f}"
    return f"{Decimal(text):.2f}" if len(text.partition(".")[2]) < 2 else text
