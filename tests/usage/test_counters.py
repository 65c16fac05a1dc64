"""Both backends count as the reference does, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.usage.reference import Call, Reference
from usage.admission import Admission, BudgetLine, Counters, Limit, Refused
from usage.counters.memory import MemoryCounters
from usage.counters.redis import RedisCounters
from usage.counters.verdicts import duration

START = int(datetime(2040, 1, 31, 23, 59, 30, tzinfo=UTC).timestamp() * 1000)
LIMITS = [
    Limit("{t}:a", "requests", 5, "this tenant"),
    Limit("{t}:b", "requests", 3, "this token"),
    Limit("{t}:c", "tokens", 100, "this tenant"),
    Limit("{t}:d", "tokens", 7, "this token"),
    Limit("{t}:e", "tokens", 10**10, "the model"),
    Limit("{t}:f", "parallel", 2, "this tenant"),
    Limit("{t}:g", "parallel", 3, "this token"),
]
BUDGETS = [
    BudgetLine("{t}:u", "u", 100, "day", "this token"),
    BudgetLine("{t}:v", "v", 250, "month", "this tenant", allows_unpriced=True),
    BudgetLine("{t}:w", "w", 10, "month", "the factory", blocks=False),
    BudgetLine("{t}:x", "x", 10**18, "month", "everything", allows_unpriced=True),
]
Make = Callable[[Callable[[], float], Any], Counters]


def subsets(of: list[Any]) -> st.SearchStrategy[list[Any]]:
    """Mostly all of them."""
    some = st.lists(st.sampled_from(of), unique=True) if of else st.just([])
    return st.one_of(st.just(of), st.just(of), some)


class Counting(RuleBasedStateMachine):
    make: Make

    @initialize(
        limits=st.lists(st.sampled_from(LIMITS), unique=True, max_size=3),
        budgets=st.lists(st.sampled_from(BUDGETS), unique=True, max_size=2),
    )
    def begin(self, limits: list[Limit], budgets: list[BudgetLine]) -> None:
        self.limits, self.budgets = limits, budgets
        self.now_ms = START
        self.reference = Reference()
        self.open: list[tuple[Admission, Call]] = []
        self.runner = asyncio.Runner()
        self.counters = self.make(lambda: self.now_ms / 1000, self.spent)

    async def spent(self, lines: Sequence[BudgetLine]) -> dict[str, int]:
        return {line.key: self.reference.spent_in(line, self.now_ms) for line in lines}

    @rule(ms=st.sampled_from([0, 1, 7, 999, 8_571, 12_000, 20_000, 60_000, 3_600_000, 86_400_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(
        data=st.data(),
        tokens=st.sampled_from([0, 1, 3, 7, 8, 60, 100, 101, 10**9]),
        units=st.sampled_from([None, 0, 1, 40, 100, 151, 251, 10**17 + 1, 10**18]),
    )
    def admit(self, data: st.DataObject, tokens: int, units: int | None) -> None:
        limits, budgets = data.draw(subsets(self.limits)), data.draw(subsets(self.budgets))
        against = self.reference.refuses(limits, budgets, tokens, units, self.now_ms)
        try:
            admission = self.runner.run(
                self.counters.admit(limits, budgets, tokens=tokens, units=units, now=self.now_ms / 1000)
            )
        except Refused as refused:
            assert (refused.kind, refused.scope) in against
            self.check_wait(refused, limits, tokens)
            return
        assert not against
        call = self.reference.admit(limits, budgets, tokens, units, self.now_ms)
        self.open.append((admission, call))
        expected = {}
        for kind, (left, reset_ms) in self.reference.headers(limits, self.now_ms).items():
            expected[f"x-ratelimit-remaining-{kind}"] = str(left)
            expected[f"x-ratelimit-reset-{kind}"] = duration(reset_ms)
        told = {name: value for name, value in admission.headers.items() if "-limit-" not in name[11:]}
        assert told == expected

    def check_wait(self, refused: Refused, limits: list[Limit], tokens: int) -> None:
        """Who waits as long as it says fits all limits per minute then, and would not a millisecond before."""
        if refused.kind not in ("requests", "tokens"):
            return
        rates = [limit for limit in limits if limit.kind != "parallel"]
        if refused.retry_after_s is None:
            assert any(limit.kind == "tokens" and tokens > limit.amount for limit in limits)
            return
        then = self.now_ms + round(refused.retry_after_s * 1000)
        assert not self.reference.refuses(rates, [], tokens, 0, then)
        assert self.reference.refuses(rates, [], tokens, 0, then - 1)

    @rule(
        which=st.integers(0, 30),
        tokens=st.sampled_from([None, 0, 1, 7, 50, 100, 1000]),
        units=st.sampled_from([None, 0, 1, 39, 40, 41, 300, 10**17]),
    )
    def settle(self, which: int, tokens: int | None, units: int | None) -> None:
        if self.open:
            admission, call = self.open[which % len(self.open)]
            self.runner.run(self.counters.settle(admission, tokens=tokens, units=units))
            self.reference.settle(call, tokens, units, self.now_ms)

    @invariant()
    def everything_stands_as_it_should(self) -> None:
        if not hasattr(self, "runner"):
            return
        standing = self.runner.run(self.counters.look(self.limits, self.budgets, now=self.now_ms / 1000))
        assert standing is not None
        for limit, used in zip(self.limits, standing.used, strict=True):
            if limit.kind == "parallel":
                assert used == self.reference.running(limit)
            else:
                assert used == self.reference.level(limit, self.now_ms) * 60_000
        for line, money in zip(self.budgets, standing.money, strict=True):
            spent, committed = self.reference.spent_in(line, self.now_ms), self.reference.committed(line, self.now_ms)
            assert money == (spent, committed - spent) or (money is None and committed == 0)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.counters.close())
            self.runner.close()


def run(make: Make, examples: int) -> None:
    machine = type("Machine", (Counting,), {"make": staticmethod(make)})
    profile = settings(
        max_examples=examples, stateful_step_count=40, suppress_health_check=list(HealthCheck), print_blob=True
    )
    run_state_machine_as_test(machine, settings=profile)


def test_one_process_counts_as_the_reference_does() -> None:
    run(lambda clock, spent: MemoryCounters(spent=spent, clock=clock), examples=200)


def test_redis_counts_as_the_reference_does(redis_url: str) -> None:
    def make(clock: Callable[[], float], spent: Any) -> Counters:
        return RedisCounters(
            redis_url,
            prefix=f"llmadmin_test_{secrets.token_hex(8)}:",
            spent=spent,
            clock=clock,
            server_time=False,
            timeout_s=60,
            lease_s=10**7,
        )

    run(make, examples=60)


@pytest.mark.parametrize("ms", [0, 17, 999])
def test_short_durations_are_written_in_milliseconds(ms: int) -> None:
    assert duration(ms) == f"{ms}ms"


@pytest.mark.parametrize(("ms", "text"), [(1000, "1s"), (8640, "8.64s"), (59_999, "59.999s"), (360_000, "6m0s")])
def test_longer_ones_as_openai_writes_them(ms: int, text: str) -> None:
    assert duration(ms) == text
