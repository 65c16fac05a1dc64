"""What the scripts are told, and what they say: their keys, arguments and replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usage.admission import BudgetLine, Limit, Money, Period, Standing, period_at

Argument = bytes | str | int


def keys_of(
    prefix: str, limits: Sequence[Limit], budgets: Sequence[BudgetLine], periods: Sequence[Period]
) -> list[str]:
    """One of each limit; two of each budget: what is spent, and what is set aside."""
    keys = [f"{prefix}{limit.key}" for limit in limits]
    for line, period in zip(budgets, periods, strict=True):
        key = f"{prefix}{line.key}:{period.label}"
        keys += (key, f"{key}:reserved")
    return keys


def look_keys(prefix: str, limits: Sequence[Limit], budgets: Sequence[BudgetLine], now_ms: int) -> list[str]:
    """The keys that LOOK reads."""
    return keys_of(prefix, limits, budgets, [period_at(line.period, now_ms) for line in budgets])


def look_arguments(limits: Sequence[Limit]) -> list[Argument]:
    """What LOOK is told after the time."""
    return [len(limits), *(argument for limit in limits for argument in (limit.kind, limit.amount))]


def standing_of(reply: Sequence[Any], limits: int) -> Standing:
    """What LOOK said of so many limits and the budgets after them."""
    texts = reply[1 + limits :]
    money = [
        Money(int(spent), int(committed) - int(spent)) if spent else None
        for committed, spent in zip(texts[::2], texts[1::2], strict=True)
    ]
    return Standing([int(used) for used in reply[1 : 1 + limits]], money)
