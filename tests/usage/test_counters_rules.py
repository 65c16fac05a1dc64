"""The rules that people rely on, one a test, on both backends."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from usage.admission import Admission, BudgetLine, Counters, Limit, Refused
from usage.counters.memory import MemoryCounters
from usage.counters.redis import RedisCounters

EVENING = datetime(2040, 11, 20, 23, 59, tzinfo=UTC).timestamp()
REQUESTS = Limit("{t}:r", "requests", 2, "this token")
TOKENS = Limit("{t}:t", "tokens", 1000, "this tenant")
PARALLEL = Limit("{t}:p", "parallel", 2, "this tenant")
DAILY = BudgetLine("{t}:d", "d", 100, "day", "this token")


class Counting:
    """Counters at a time that the test sets."""

    def __init__(self, make: Callable[..., Counters]) -> None:
        self.now = EVENING
        self.counters = make(lambda: self.now)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def admit(
        self,
        *bounds: Limit | BudgetLine,
        tokens: int = 0,
        units: int | None = 0,
    ) -> Admission:
        limits = [bound for bound in bounds if isinstance(bound, Limit)]
        budgets = [bound for bound in bounds if isinstance(bound, BudgetLine)]
        admitted = self.run(self.counters.admit(limits, budgets, tokens=tokens, units=units, now=self.now))
        assert isinstance(admitted, Admission)
        return admitted

    def refused(self, *bounds: Limit | BudgetLine, tokens: int = 0, units: int | None = 0) -> Refused:
        with pytest.raises(Refused) as caught:
            self.admit(*bounds, tokens=tokens, units=units)
        return caught.value

    def settle(self, admission: Admission, *, tokens: int | None = None, units: int | None = None) -> None:
        self.run(self.counters.settle(admission, tokens=tokens, units=units))

    def __enter__(self) -> Counting:
        self.runner = asyncio.Runner()
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.counters.close())
        self.runner.close()


@pytest.fixture(params=["memory", "redis"])
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    def make(clock: Callable[[], float]) -> Counters:
        if request.param == "memory":
            return MemoryCounters(clock=clock)
        return RedisCounters(
            request.getfixturevalue("redis_url"),
            prefix=f"llmadmin_test_{secrets.token_hex(8)}:",
            clock=clock,
            server_time=False,
            timeout_s=60,
            lease_s=10**6,
        )

    with Counting(make) as made:
        yield made


def test_who_is_refused_is_told_when_to_come_back_and_is_admitted_then(counting: Counting) -> None:
    counting.admit(REQUESTS)
    counting.admit(REQUESTS)
    refused = counting.refused(REQUESTS)
    assert (refused.status, refused.code, refused.kind) == (429, "rate_limit_exceeded", "requests")
    assert refused.message == "Rate limit reached for this token: 2 requests per minute."
    assert refused.retry_after_s == 30
    assert refused.headers == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
        "retry-after": "30",
        "retry-after-ms": "30000",
    }
    counting.now += 30
    assert counting.admit(REQUESTS).headers["x-ratelimit-remaining-requests"] == "0"


def test_of_several_limits_the_longest_wait_is_told(counting: Counting) -> None:
    slow = Limit("{t}:slow", "requests", 1, "the model x")
    for _ in range(2):
        counting.admit(REQUESTS)
    counting.admit(slow)
    for bounds in ([REQUESTS, slow], [slow, REQUESTS]):
        refused = counting.refused(*bounds)
        assert (refused.scope, refused.retry_after_s) == ("the model x", 60)


def test_one_refusal_counts_for_nothing_anywhere(counting: Counting) -> None:
    full = Limit("{t}:full", "parallel", 1, "the model x")
    counting.admit(full)
    for _ in range(5):
        counting.refused(REQUESTS, TOKENS, PARALLEL, full, DAILY, tokens=900, units=90)
    admitted = counting.admit(REQUESTS, TOKENS, PARALLEL, DAILY, tokens=1000, units=100)
    assert admitted.headers["x-ratelimit-remaining-requests"] == "1"


def test_a_call_larger_than_the_limit_is_refused_for_good(counting: Counting) -> None:
    refused = counting.refused(TOKENS, tokens=1001)
    assert (refused.kind, refused.retry_after_s, refused.code) == ("tokens", None, "rate_limit_exceeded")
    assert "about 1,001 tokens" in refused.message and "1,000 tokens per minute" in refused.message
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    counting.admit(TOKENS, tokens=1000)


def test_slots_are_given_back_once(counting: Counting) -> None:
    first, _ = counting.admit(PARALLEL), counting.admit(PARALLEL)
    refused = counting.refused(PARALLEL)
    assert (refused.kind, refused.message) == (
        "parallel",
        "Too many calls at a time for this tenant: 2 may run together.",
    )
    counting.settle(first)
    counting.settle(first)
    counting.admit(PARALLEL)
    counting.refused(PARALLEL)


def test_tokens_are_corrected_by_what_was_used(counting: Counting) -> None:
    counting.settle(counting.admit(TOKENS, tokens=1000), tokens=100)
    counting.settle(counting.admit(TOKENS, tokens=900), tokens=None)  # unknown: the estimate stands
    assert counting.refused(TOKENS, tokens=1).retry_after_s == 0.06
    counting.now += 60
    counting.settle(counting.admit(TOKENS, tokens=1), tokens=2500)
    assert counting.refused(TOKENS, tokens=1000).retry_after_s == 150


def test_a_runaway_call_is_paid_off_for_five_minutes_at_most(counting: Counting) -> None:
    counting.settle(counting.admit(TOKENS, tokens=1), tokens=10**9)
    assert counting.refused(TOKENS, tokens=1000).retry_after_s == 300
    counting.now += 300
    counting.admit(TOKENS, tokens=1000)


def test_what_was_set_aside_long_ago_cannot_be_given_back(counting: Counting) -> None:
    slow = counting.admit(TOKENS, tokens=1000)
    counting.now += 60  # all of it has drained
    counting.admit(TOKENS, tokens=1000)
    counting.settle(slow, tokens=0)
    counting.refused(TOKENS, tokens=1)


def test_the_last_of_a_budget_is_not_spent_twice(counting: Counting) -> None:
    async def race() -> list[Any]:
        wanted = [counting.counters.admit([], [DAILY], tokens=0, units=9, now=counting.now) for _ in range(64)]
        return await asyncio.gather(*wanted, return_exceptions=True)

    outcomes = counting.run(race())
    assert sum(isinstance(outcome, Admission) for outcome in outcomes) == 11
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 53


def test_what_is_set_aside_may_be_given_back_so_it_is_worth_waiting(counting: Counting) -> None:
    running = counting.admit(DAILY, units=95)
    refused = counting.refused(DAILY, units=10)
    assert (refused.code, refused.retry_after_s) == ("insufficient_quota", 1)
    assert "x-should-retry" not in refused.headers
    counting.settle(running, units=0)
    counting.admit(DAILY, units=10)


def test_a_budget_that_is_used_up_says_until_when(counting: Counting) -> None:
    counting.settle(counting.admit(DAILY, units=100), units=100)
    refused = counting.refused(DAILY, units=1)
    assert (refused.status, refused.code, refused.kind) == (429, "insufficient_quota", "budget")
    assert refused.message == "The daily budget of this token is used up: 0.00000001 USD."
    assert refused.hint == "It starts anew at 2040-11-21 00:00 UTC."
    assert refused.headers == {"x-should-retry": "false", "retry-after": "60", "retry-after-ms": "60000"}


def test_a_call_that_may_cost_more_than_is_left_says_what_is(counting: Counting) -> None:
    counting.settle(counting.admit(DAILY, units=90), units=60)
    refused = counting.refused(DAILY, units=41)
    assert refused.message == (
        "This call may cost up to 0.0000000041 USD, and 0.000000004 USD of the daily budget of this token is left."
    )
    counting.admit(DAILY, units=40)


def test_a_day_ends_at_midnight_and_a_call_counts_where_it_began(counting: Counting) -> None:
    before = counting.admit(DAILY, units=60)
    counting.now += 60
    after = counting.admit(DAILY, units=60)
    counting.settle(before, units=100)
    counting.settle(after, units=60)
    counting.refused(DAILY, units=41)
    counting.admit(DAILY, units=40)


def test_a_month_ends_with_its_last_day(counting: Counting) -> None:
    monthly = BudgetLine("{t}:m", "m", 100, "month", "this tenant")
    counting.settle(counting.admit(monthly, units=100), units=100)
    counting.now += 10 * 86_400
    refused = counting.refused(monthly, units=1)
    assert refused.hint == "It starts anew at 2040-12-01 00:00 UTC."
    counting.now += 86_400
    counting.admit(monthly, units=100)


def test_a_budget_that_only_watches_refuses_nothing(counting: Counting) -> None:
    watching = BudgetLine("{t}:w", "w", 1, "day", "this token", blocks=False)
    counting.settle(counting.admit(watching, units=500), units=500)
    counting.admit(watching, units=500)
    counting.admit(watching, units=None)


def test_a_call_that_costs_nothing_passes_a_budget_that_is_used_up(counting: Counting) -> None:
    counting.settle(counting.admit(DAILY, units=100), units=150)
    counting.admit(DAILY, units=0)


def test_a_model_without_a_price_is_refused_unless_the_budget_allows_it(counting: Counting) -> None:
    refused = counting.refused(DAILY, units=None)
    assert (refused.kind, refused.code, refused.retry_after_s) == ("unpriced", "insufficient_quota", None)
    lenient = BudgetLine("{t}:l", "l", 100, "day", "this token", allows_unpriced=True)
    counting.settle(counting.admit(lenient, units=None), units=None)
    counting.settle(counting.admit(lenient, units=100), units=99)
    counting.admit(lenient, units=None)
    counting.settle(counting.admit(lenient, units=1), units=1)
    assert counting.refused(lenient, units=None).kind == "budget"


def test_a_cost_that_is_not_known_is_what_was_set_aside(counting: Counting) -> None:
    counting.settle(counting.admit(DAILY, units=100), units=None)
    counting.refused(DAILY, units=1)


def test_the_largest_budget_is_counted_to_the_last_unit(counting: Counting) -> None:
    huge = BudgetLine("{t}:h", "h", 10**18, "month", "this tenant")
    counting.settle(counting.admit(huge, units=10**18 - 1), units=10**18 - 1)
    counting.refused(huge, units=2)
    counting.settle(counting.admit(huge, units=1), units=1)
    counting.refused(huge, units=1)


@pytest.mark.parametrize(("tokens", "units"), [(-1, 0), (0, -1), (10**10, 0), (0, 10**19)])
def test_senseless_numbers_are_refused(counting: Counting, tokens: int, units: int) -> None:
    with pytest.raises(ValueError, match="Not a"):
        counting.admit(REQUESTS, tokens=tokens, units=units)


def test_without_bounds_nothing_is_counted(counting: Counting) -> None:
    admission = counting.admit(tokens=5, units=None)
    assert (admission.headers, list(admission.limits), list(admission.budgets)) == ({}, [], [])
    counting.settle(admission, tokens=7, units=7)


def test_headers_are_of_the_limit_that_leaves_the_least(counting: Counting) -> None:
    wide = Limit("{t}:wide", "tokens", 10**6, "this tenant")
    told = counting.admit(wide, TOKENS, REQUESTS, PARALLEL, tokens=250).headers
    assert told == {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "750",
        "x-ratelimit-reset-tokens": "15s",
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "30s",
    }


def test_a_clock_that_goes_back_gives_nothing_away(counting: Counting) -> None:
    counting.admit(REQUESTS)
    counting.admit(REQUESTS)
    counting.now -= 3600
    counting.refused(REQUESTS)
    counting.now += 3600
    counting.refused(REQUESTS)
