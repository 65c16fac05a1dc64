"""When a target is left alone, and when it is tried again."""

from __future__ import annotations

import pytest

from gateway.breaker import MAX_OPEN_S, MAX_REST_S, OPEN_S, THRESHOLD, TRIAL_S, Breaker
from providers.errors import BadRequest, ContentFiltered, RateLimited, ServerFailed, UpstreamError

pytestmark = pytest.mark.once


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock=clock)
    for _ in range(THRESHOLD):
        breaker.enter("t")
        breaker.failed("t", ServerFailed())
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(THRESHOLD - 1):
        breaker.failed("t", ServerFailed())
    assert breaker.wait_s("t") == 0
    breaker.succeeded("t")
    for _ in range(THRESHOLD - 1):
        breaker.failed("t", ServerFailed())
    assert breaker.wait_s("t") == 0
    breaker.failed("t", ServerFailed())
    assert breaker.wait_s("t") == OPEN_S
    assert breaker.states() == {"t": "open"}
    assert breaker.wait_s("other") == 0


@pytest.mark.parametrize("error", [BadRequest(), ContentFiltered()])
def test_what_is_the_request_s_fault_does_not_count(clock: Clock, error: UpstreamError) -> None:
    breaker = Breaker(clock=clock)
    for _ in range(THRESHOLD * 3):
        breaker.failed("t", error)
    assert breaker.wait_s("t") == 0
    assert len(breaker) == 0


def test_half_open_lets_one_trial_through(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += OPEN_S
    assert breaker.wait_s("t") == 0
    assert breaker.states() == {"t": "half-open"}
    breaker.enter("t")
    assert breaker.wait_s("t") > 0
    breaker.succeeded("t")
    assert breaker.wait_s("t") == 0
    assert breaker.states() == {}


def test_a_failed_trial_opens_it_for_longer_up_to_a_limit(clock: Clock) -> None:
    breaker = opened(clock)
    waits = []
    for _ in range(8):
        clock.now += breaker.wait_s("t")
        breaker.enter("t")
        breaker.failed("t", ServerFailed())
        waits.append(breaker.wait_s("t"))
    assert waits[:3] == [OPEN_S * 2, OPEN_S * 4, OPEN_S * 8]
    assert waits[-1] == MAX_OPEN_S


def test_a_trial_that_nobody_reports_on_is_free_again(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += OPEN_S
    breaker.enter("t")
    clock.now += TRIAL_S
    assert breaker.wait_s("t") == 0
    breaker.enter("t")
    breaker.left("t")
    assert breaker.wait_s("t") == 0


def test_a_target_that_names_a_time_rests_for_it_but_not_for_ever(clock: Clock) -> None:
    breaker = Breaker(clock=clock)
    breaker.failed("t", RateLimited(retry_after_s=7))
    assert breaker.wait_s("t") == 7
    assert breaker.states() == {"t": "resting"}
    breaker.failed("t", RateLimited(retry_after_s=10**9))
    assert breaker.wait_s("t") == MAX_REST_S
