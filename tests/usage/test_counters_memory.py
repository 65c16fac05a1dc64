"""What is particular to counting in one process, alone or beside others; the rest is in test_counters_rules."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.admission import BudgetLine, Limit, Refused
from usage.counters.memory import MemoryCounters

NOON = 2_236_680_000.0  # 2040-11-16 12:00 UTC
BUDGET = BudgetLine("b", "b", 1000, "month", "this tenant")


class Books:
    """What the database says was spent of every budget, at a time that moves."""

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.asked = 0
        self.away = False
        self.now = NOON

    async def __call__(self, lines: Sequence[BudgetLine]) -> dict[str, int]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise OSError("the database is away")
        return {line.key: self.spent for line in lines}

    def clock(self) -> float:
        return self.now


async def spend(counters: MemoryCounters, books: Books, units: int, line: BudgetLine = BUDGET) -> bool:
    """Whether a call that costs so much was let in; the books are read again where they are due."""
    try:
        admission = await counters.admit([], [line], tokens=0, units=units, now=books.now)
    except Refused:
        return False
    finally:
        for _ in range(5):
            await asyncio.sleep(0)
    await counters.settle(admission, tokens=0, units=units)
    return True


def test_idle_keys_are_forgotten() -> None:
    async def calls() -> int:
        books = Books()
        counters = MemoryCounters(clock=books.clock)
        for number in range(5000):
            bounds = [Limit(f"{number}", "requests", 10, "x"), Limit(f"p{number}", "parallel", 10, "x")]
            line = BudgetLine(f"b{number}", "b", 10, "month", "x")
            admission = await counters.admit(bounds, [line], tokens=0, units=1, now=NOON)
            await counters.settle(admission, tokens=0, units=0)
        assert len(counters) == 10_000
        for _ in range(5000):
            await counters.admit([Limit("busy", "requests", 10**6, "x")], [], tokens=0, units=0, now=NOON + 901)
        return len(counters)

    assert asyncio.run(calls()) == 1


def test_a_budget_with_something_set_aside_is_not_forgotten() -> None:
    async def calls() -> None:
        counters = MemoryCounters()
        await counters.admit([], [BUDGET], tokens=0, units=1000, now=NOON)
        for _ in range(500):
            await counters.admit([Limit("busy", "requests", 10**6, "x")], [], tokens=0, units=0, now=NOON + 10_000)
        with pytest.raises(Refused):
            await counters.admit([], [BUDGET], tokens=0, units=1, now=NOON + 10_000)

    asyncio.run(calls())


def test_a_budget_starts_from_what_the_database_says_and_all_who_wait_for_it_wait_together() -> None:
    books = Books(60)

    async def calls() -> list[object]:
        counters = MemoryCounters(spent=books, clock=books.clock)
        line = BudgetLine("b", "b", 100, "month", "this tenant")
        wanted = [counters.admit([], [line], tokens=0, units=10, now=NOON) for _ in range(8)]
        return await asyncio.gather(*wanted, return_exceptions=True)

    outcomes = asyncio.run(calls())
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [False] * 4 + [True] * 4
    assert books.asked == 1


def test_while_the_database_is_away_counting_starts_from_what_the_snapshot_knew() -> None:
    async def calls() -> None:
        books = Books()
        books.away = True
        counters = MemoryCounters(spent=books, clock=books.clock)
        line = BudgetLine("b", "b", 1000, "month", "this tenant", spent_units=400, spent_in="2040-11")
        assert not await spend(counters, books, 601, line)
        assert await spend(counters, books, 600, line)
        await counters.close()

    asyncio.run(calls())


def test_what_the_snapshot_knew_of_another_period_is_not_of_this_one() -> None:
    async def calls() -> None:
        books = Books()
        line = BudgetLine("b", "b", 1000, "month", "this tenant", spent_units=400, spent_in="2040-10")
        assert await spend(MemoryCounters(clock=books.clock), books, 1000, line)

    asyncio.run(calls())


def test_what_others_spent_is_learned_and_no_call_of_ones_own_is_counted_twice() -> None:
    async def calls() -> None:
        books = Books()
        counters = MemoryCounters(spent=books, clock=books.clock)
        assert await spend(counters, books, 100)
        books.spent = 100  # it is booked
        for _ in range(5):
            books.now += 11
            assert await spend(counters, books, 0)
        assert not await spend(counters, books, 901)
        books.spent = 700  # somebody else spent six hundred
        for _ in range(2):
            books.now += 11
            assert await spend(counters, books, 0)
        assert not await spend(counters, books, 301)
        assert await spend(counters, books, 300)
        await counters.close()

    asyncio.run(calls())


def test_a_call_that_is_booked_before_it_is_settled_is_counted_once() -> None:
    async def calls() -> None:
        books = Books()
        counters = MemoryCounters(spent=books, clock=books.clock)
        running = await counters.admit([], [BUDGET], tokens=0, units=600, now=books.now)
        books.spent = 600
        books.now += 11
        assert await spend(counters, books, 0)
        assert books.asked == 2
        await counters.settle(running, tokens=0, units=600)
        books.now += 11
        assert await spend(counters, books, 0)
        assert not await spend(counters, books, 401)
        assert await spend(counters, books, 400)
        await counters.close()

    asyncio.run(calls())


@pytest.mark.parametrize("workers", [2, 4, 7])
def test_processes_beside_each_other_never_let_more_through_than_the_limit(workers: int) -> None:
    async def calls() -> dict[str, int]:
        limits = [Limit("r", "requests", 20, "x"), Limit("t", "tokens", 1000, "x"), Limit("p", "parallel", 9, "x")]
        through = dict.fromkeys("rtp", 0)
        for limit in limits:
            for _ in range(workers):
                counters = MemoryCounters(workers=workers)
                for _ in range(50):
                    try:
                        await counters.admit([limit], [], tokens=25, units=0, now=NOON)
                    except Refused:
                        break
                    through[limit.key] += 25 if limit.kind == "tokens" else 1
        return through

    through = asyncio.run(calls())
    assert through["r"] == 20 // workers * workers
    assert through["t"] <= 1000
    assert through["p"] == 9 // workers * workers


def test_a_limit_smaller_than_the_number_of_processes_lets_each_make_one_call() -> None:
    async def calls() -> None:
        counters = MemoryCounters(workers=4)
        limit = Limit("r", "requests", 1, "x")
        await counters.admit([limit], [], tokens=0, units=0, now=NOON)
        with pytest.raises(Refused):
            await counters.admit([limit], [], tokens=0, units=0, now=NOON)

    asyncio.run(calls())


def test_a_call_larger_than_a_processs_share_waits_until_it_has_drained_and_is_paid_off() -> None:
    """A quarter of 1000 a minute is this process's; a call of 800 fits the limit, and is made when nothing else is."""

    async def calls() -> None:
        counters, limit = MemoryCounters(workers=4), Limit("t", "tokens", 1000, "x")
        await counters.admit([limit], [], tokens=50, units=0, now=NOON)
        with pytest.raises(Refused) as refused:
            await counters.admit([limit], [], tokens=800, units=0, now=NOON)
        assert refused.value.retry_after_s == 12
        await counters.admit([limit], [], tokens=800, units=0, now=NOON + 12)
        with pytest.raises(Refused) as refused:
            await counters.admit([limit], [], tokens=250, units=0, now=NOON + 12)
        assert refused.value.retry_after_s == 192
        with pytest.raises(Refused) as refused:
            await counters.admit([limit], [], tokens=1001, units=0, now=NOON + 900)
        assert refused.value.retry_after_s is None

    asyncio.run(calls())


def test_a_process_beside_others_may_commit_its_share_of_what_is_left_and_learns_what_all_spent() -> None:
    async def calls() -> None:
        books = Books(200)
        counters = MemoryCounters(workers=4, spent=books, clock=books.clock)
        assert not await spend(counters, books, 201)
        assert await spend(counters, books, 200)
        assert not await spend(counters, books, 1)
        books.spent = 400  # it is booked, and nobody else spent anything
        for _ in range(2):
            books.now += 3
            await spend(counters, books, 0)
        assert not await spend(counters, books, 151)
        assert await spend(counters, books, 150)
        await counters.close()

    asyncio.run(calls())


@given(
    workers=st.integers(2, 8),
    amount=st.integers(1, 10_000),
    spent=st.integers(0, 10_000),
    costs=st.lists(st.integers(1, 500), min_size=1, max_size=60),
)
def test_processes_that_start_from_the_same_books_never_overspend_together(
    workers: int, amount: int, spent: int, costs: list[int]
) -> None:
    async def calls() -> int:
        line = BudgetLine("b", "b", amount, "day", "x")
        total = 0
        for _ in range(workers):
            books = Books(spent)
            counters = MemoryCounters(workers=workers, spent=books, clock=books.clock)
            for cost in costs:
                total += cost if await spend(counters, books, cost, line) else 0
            await counters.close()
        return total

    assert asyncio.run(calls()) <= max(0, amount - spent)


def _race(workers: int, barrier: Any, outcomes: Any) -> None:
    async def calls() -> int:
        books = Books()
        counters = MemoryCounters(workers=workers, spent=books, clock=books.clock)
        barrier.wait()
        return sum(await asyncio.gather(*(spend(counters, books, 7) for _ in range(64))))

    outcomes.put(asyncio.run(calls()))


def test_real_processes_without_redis_that_race_for_the_last_cent_overspend_nothing() -> None:
    context = multiprocessing.get_context("spawn")
    workers = 4
    barrier, outcomes = context.Barrier(workers), context.Queue()
    started = [context.Process(target=_race, args=(workers, barrier, outcomes), daemon=True) for _ in range(workers)]
    for process in started:
        process.start()
    spent = sum(outcomes.get(timeout=120) for _ in started) * 7
    for process in started:
        process.join(60)
    assert math.floor(1000 / workers / 7) * 7 * workers == spent <= 1000


@pytest.mark.parametrize("now", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(now: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        asyncio.run(MemoryCounters().admit([], [], tokens=0, units=0, now=now))


@pytest.mark.parametrize(("tokens", "units"), [(1.5, 0), (0, 0.5), ("1", 0), (True, 0), (0, True)])
def test_what_is_no_whole_number_is_refused(tokens: Any, units: Any) -> None:
    with pytest.raises(ValueError, match="Not a"):
        asyncio.run(MemoryCounters().admit([], [], tokens=tokens, units=units, now=NOON))
