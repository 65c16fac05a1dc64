"""Limits and budgets counted slowly and obviously, to compare the real counters with.

Every number is worked out from the whole history each time it is asked for, in fractions of requests and tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from usage.admission import BudgetLine, Limit, period_at
from usage.counters.verdicts import MAX_DEBT_MINUTES

Reason = tuple[str, str]  # kind and scope


@dataclass
class Charge:
    """At `at_ms` so much was added to a bucket; `refund` is of what was charged at another time."""

    at_ms: int
    amount: Fraction
    refund_of: tuple[int, Fraction] | None = None  # when that was charged, and how full the bucket was then


@dataclass
class Call:
    limits: Sequence[Limit]
    budgets: Sequence[BudgetLine]
    tokens: int
    units: int
    at_ms: int
    levels: dict[str, Fraction]
    periods: dict[str, str]
    settled: bool = False


@dataclass
class Reference:
    charges: dict[str, list[Charge]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    spent: dict[tuple[str, str], int] = field(default_factory=dict)

    def level(self, limit: Limit, at_ms: int) -> Fraction:
        """How many requests or tokens have not drained yet."""
        per_ms = Fraction(limit.amount, 60_000)
        level, before = Fraction(0), 0
        for charge in self.charges.get(limit.key, []):
            level = max(Fraction(0), level - (charge.at_ms - before) * per_ms)
            before = charge.at_ms
            if charge.refund_of is not None:
                charged_at, then = charge.refund_of
                undrained = max(Fraction(0), then - (charge.at_ms - charged_at) * per_ms)
                level = max(Fraction(0), level - min(charge.amount, undrained))
            else:
                ceiling = max(level, Fraction(limit.amount * MAX_DEBT_MINUTES))
                level = min(level + charge.amount, ceiling)
        return max(Fraction(0), level - (at_ms - before) * per_ms)

    def running(self, limit: Limit) -> int:
        return sum(1 for call in self.calls if not call.settled and limit in call.limits)

    def spent_in(self, line: BudgetLine, at_ms: int) -> int:
        return self.spent.get((line.key, period_at(line.period, at_ms).label), 0)

    def committed(self, line: BudgetLine, at_ms: int) -> int:
        label = period_at(line.period, at_ms).label
        open_calls = [call for call in self.calls if not call.settled and call.periods.get(line.key) == label]
        return self.spent_in(line, at_ms) + sum(call.units for call in open_calls)

    def refuses(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], tokens: int, units: int | None, at_ms: int
    ) -> set[Reason]:
        """Everything that speaks against a call."""
        found: set[Reason] = set()
        for limit in limits:
            if limit.kind == "parallel":
                fits = self.running(limit) + 1 <= limit.amount
            else:
                fits = self.level(limit, at_ms) + (1 if limit.kind == "requests" else tokens) <= limit.amount
            if not fits:
                found.add((limit.kind, limit.scope))
        for line in (line for line in budgets if line.blocks):
            committed = self.committed(line, at_ms)
            if units is None:
                if not line.allows_unpriced:
                    found.add(("unpriced", line.scope))
                elif committed >= line.amount_units:
                    found.add(("budget", line.scope))
            elif units and committed + units > line.amount_units:
                found.add(("budget", line.scope))
        return found

    def admit(
        self, limits: Sequence[Limit], budgets: Sequence[BudgetLine], tokens: int, units: int | None, at_ms: int
    ) -> Call:
        levels = {}
        for limit in limits:
            if limit.kind != "parallel":
                amount = Fraction(1 if limit.kind == "requests" else tokens)
                self.charges.setdefault(limit.key, []).append(Charge(at_ms, amount))
                levels[limit.key] = self.level(limit, at_ms)
        periods = {line.key: period_at(line.period, at_ms).label for line in budgets}
        self.calls.append(Call(limits, budgets, tokens, units or 0, at_ms, levels, periods))
        return self.calls[-1]

    def settle(self, call: Call, tokens: int | None, units: int | None, at_ms: int) -> None:
        if call.settled:
            return
        call.settled = True
        for limit in call.limits:
            if limit.kind != "tokens" or tokens is None:
                continue
            more = tokens - call.tokens
            if more > 0:
                self.charges[limit.key].append(Charge(at_ms, Fraction(more)))
            elif more < 0:
                refund = Charge(at_ms, Fraction(-more), (call.at_ms, call.levels[limit.key]))
                self.charges[limit.key].append(refund)
        for line in call.budgets:
            place = (line.key, call.periods[line.key])
            self.spent[place] = self.spent.get(place, 0) + (call.units if units is None else units)

    def headers(self, limits: Sequence[Limit], at_ms: int) -> dict[str, tuple[int, int]]:
        """By kind: what is left, and how many milliseconds until it is as if nothing had been used."""
        found: dict[str, tuple[int, int]] = {}
        for limit in limits:
            if limit.kind != "parallel":
                level = self.level(limit, at_ms)
                left = max(0, limit.amount - math.ceil(level))
                if limit.kind not in found or left < found[limit.kind][0]:
                    found[limit.kind] = (left, math.ceil(level * 60_000 / limit.amount))
        return found
