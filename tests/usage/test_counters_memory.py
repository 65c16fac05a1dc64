"""What is particular to counting in one process; what both backends do is in test_counters."""

from __future__ import annotations

import asyncio

import pytest

from usage.admission import BudgetLine, Limit, Refused
from usage.counters.memory import MemoryCounters

NOON = 1_795_176_000.0  # 2026-11-20 12:00 UTC


def test_idle_keys_are_forgotten() -> None:
    async def calls() -> int:
        counters = MemoryCounters(clock=lambda: NOON)
        for number in range(5000):
            limit = Limit(f"{number}", "requests", 10, "x")
            admission = await counters.admit([limit], [], tokens=0, units=0, now=NOON)
            await counters.settle(admission, tokens=0, units=0)
        for _ in range(5000):
            await counters.admit([Limit("busy", "requests", 10**6, "x")], [], tokens=0, units=0, now=NOON + 900)
        return len(counters)

    assert asyncio.run(calls()) == 1


def test_a_budget_starts_from_what_the_database_says_and_all_who_wait_for_it_wait_together() -> None:
    asked: list[str] = []

    async def spent(lines: object) -> dict[str, int]:
        asked.append("once")
        await asyncio.sleep(0.01)
        return {"b": 60}

    async def calls() -> list[object]:
        counters = MemoryCounters(spent=spent, clock=lambda: NOON)
        line = BudgetLine("b", "b", 100, "month", "this tenant")
        wanted = [counters.admit([], [line], tokens=0, units=10, now=NOON) for _ in range(8)]
        return await asyncio.gather(*wanted, return_exceptions=True)

    outcomes = asyncio.run(calls())
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [False] * 4 + [True] * 4
    assert asked == ["once"]


@pytest.mark.parametrize(
    ("tokens", "units", "now"),
    [(-1, 0, NOON), (0, -1, NOON), (0, 10**19, NOON), (10**10, 0, NOON), (1.5, 0, NOON), (0, 0.5, NOON)],
)
def test_senseless_numbers_are_refused(tokens: int, units: int, now: float) -> None:
    with pytest.raises(ValueError, match="Not a"):
        asyncio.run(MemoryCounters().admit([], [], tokens=tokens, units=units, now=now))


@pytest.mark.parametrize("now", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(now: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        asyncio.run(MemoryCounters().admit([], [], tokens=0, units=0, now=now))
