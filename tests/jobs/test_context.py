"""What a handler has: progress in bytes, a way to be told to stop, a place to go on from."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from core.audit import SYSTEM
from core.clock import now
from core.errors import Unavailable
from jobs.models import Job, JobState
from jobs.services import queue, runner
from jobs.services.context import (
    JobCancelled,
    JobContext,
    JobStalled,
    JobSuspended,
    LeaseLost,
    _Rate,
)

pytestmark = pytest.mark.django_db(transaction=True)
GIB = 1024**3


def claimed(**more: Any) -> JobContext:
    job = queue.enqueue("add", params={}, actor=SYSTEM)
    Job.objects.filter(pk=job.pk).update(**{"state": JobState.RUNNING, "lease": "mine", **more})
    job.refresh_from_db()
    return JobContext.of(job, deadline=now() + timedelta(minutes=1))


def row() -> Job:
    return Job.objects.get()


@contextmanager
def handled_by(settings: Any, handler: Any, **more: Any) -> Iterator[Job]:
    """A job whose handler runs in a thread while the block does."""
    globals()["current"] = handler
    entry = {"handler": f"{__name__}.current", "suspendable": True, **more}
    settings.JOB_TYPES = {**settings.JOB_TYPES, "current": entry}
    job = queue.enqueue("current", params={}, actor=SYSTEM)

    def work() -> None:
        runner.run(job.pk)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    end = time.monotonic() + 10
    while Job.objects.filter(pk=job.pk, state=JobState.PENDING, attempts=0).exists() and time.monotonic() < end:
        time.sleep(0.02)
    try:
        yield job
    finally:
        thread.join(20)
        assert not thread.is_alive()
        job.refresh_from_db()


# --- Progress -------------------------------------------------------------------------------------------------------


def test_bytes_make_percent_rate_and_time_left() -> None:
    context = claimed()
    context.progress(message="Pulling", done_bytes=0, total_bytes=GIB, step="layer 1")
    time.sleep(0.3)
    context.progress(message="Pulling", done_bytes=GIB // 4, total_bytes=GIB, step="layer 1")
    job = row()
    assert (job.progress, job.message) == (25, "Pulling")
    detail = job.progress_detail
    assert (detail["done_bytes"], detail["total_bytes"], detail["step"]) == (GIB // 4, GIB, "layer 1")
    assert 0 < detail["rate_bytes_per_s"] < GIB
    assert detail["eta_s"] == pytest.approx(3 * GIB / 4 / detail["rate_bytes_per_s"], abs=1)
    assert job.progress_at is not None


def test_progress_in_words_alone_leaves_the_percent_as_it_was() -> None:
    context = claimed(progress=40)
    context.progress(message="verifying")
    assert (row().progress, row().message, row().progress_detail) == (40, "verifying", {})


@pytest.mark.parametrize(("percent", "shown"), [(-5, 0), (33.9, 33), (1000, 100), (float("nan"), 7), (float("inf"), 7)])
def test_percent_stays_within_bounds(percent: float, shown: int) -> None:
    context = claimed(progress=7)
    context.progress(percent, "x")
    assert row().progress == shown


def test_what_was_said_too_quickly_is_written_a_moment_later() -> None:
    context = claimed()
    for percent in range(50):
        context.progress(percent, "quick")
    assert row().progress == 0
    context.watch()
    assert row().progress == 49


def test_progress_of_a_coroutine_is_written_by_the_watcher() -> None:
    context = claimed()

    async def work() -> None:
        context.progress(60, "in a loop")
        await context.asave_checkpoint({"at": 6})

    context.run(work())
    assert (row().progress, row().checkpoint) == (0, {"at": 6})
    context.watch()
    assert row().progress == 60


@given(steps=st.lists(st.tuples(st.integers(0, 10**15), st.floats(0, 100, allow_nan=False)), min_size=1, max_size=30))
def test_a_rate_is_never_negative(steps: list[tuple[int, float]]) -> None:
    rate, at = _Rate(), 1.0
    for done_bytes, passed_s in steps:
        at += passed_s
        rate.add(done_bytes, at)
        assert rate.per_s is None or rate.per_s >= 0


def test_a_steady_rate_is_told_as_it_is_and_a_new_layer_does_not_disturb_it() -> None:
    rate = _Rate()
    for second in range(20):
        rate.add(1000 * second, 100.0 + second)
    rate.add(0, 120.0)  # the next layer begins
    rate.add(1000, 121.0)
    assert rate.per_s == pytest.approx(1000)


# --- Stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "raised"), [("cancel_requested_at", JobCancelled), ("suspend_requested_at", JobSuspended)]
)
def test_what_is_asked_of_the_row_reaches_the_handler(asked: str, raised: type[Exception]) -> None:
    context, called = claimed(**{asked: now()}), []
    context.on_stop(lambda: called.append("kept"))
    forget = context.on_stop(lambda: called.append("forgotten"))
    forget()
    context.watch()
    context.watch()
    assert context.stop_seen.is_set() and context.stopped_by is raised
    assert called == ["kept"]
    context.on_stop(lambda: called.append("at once"))
    assert called == ["kept", "at once"]
    with pytest.raises(raised):
        context.raise_if_cancelled()


def test_a_callback_that_breaks_keeps_no_other_from_being_called(caplog: pytest.LogCaptureFixture) -> None:
    context, called = claimed(), []
    context.on_stop(lambda: 1 / 0)
    context.on_stop(lambda: called.append(1))
    context.stop(JobCancelled)
    assert called == [1]
    assert "ZeroDivisionError" in caplog.text


def test_a_handler_that_waits_is_cancelled_within_two_seconds(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        ctx.stop_seen.wait(30)
        raise OSError("the socket was closed under me")

    with handled_by(settings, handler) as job:
        time.sleep(0.1)
        queue.cancel(job, actor=SYSTEM)
        asked = time.monotonic()
    assert time.monotonic() - asked < 2
    assert (job.state, job.error) == (JobState.CANCELLED, {})


def test_a_coroutine_is_cancelled_and_may_clean_up(settings: Any) -> None:
    told: list[str] = []

    async def work(ctx: JobContext) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            told.append("the runtime was told")

    with handled_by(settings, lambda ctx: ctx.run(work(ctx))) as job:
        time.sleep(0.1)
        queue.cancel(job, actor=SYSTEM)
    assert (job.state, told) == (JobState.CANCELLED, ["the runtime was told"])


def test_a_coroutine_that_cancels_itself_is_a_fault_and_no_cancelled_job(settings: Any) -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with handled_by(settings, lambda ctx: ctx.run(work())) as job:
        pass
    assert (job.state, job.error["code"]) == (JobState.FAILED, "internal_error")


def test_a_handler_that_finishes_in_spite_of_a_cancel_has_finished(settings: Any) -> None:
    def handler(ctx: JobContext) -> dict[str, Any]:
        ctx.stop_seen.wait(30)
        return {"done": True}

    with handled_by(settings, handler) as job:
        queue.cancel(job, actor=SYSTEM)
    assert (job.state, job.result) == (JobState.COMPLETED, {"done": True})


def test_a_suspended_job_goes_on_from_its_checkpoint(settings: Any) -> None:
    def handler(ctx: JobContext) -> dict[str, Any]:
        if ctx.checkpoint:
            return {"from": ctx.checkpoint["at"]}
        ctx.save_checkpoint({"at": 7})
        ctx.stop_seen.wait(30)
        ctx.raise_if_cancelled()
        return {}

    with handled_by(settings, handler) as job:
        while not row().checkpoint:
            time.sleep(0.02)
        queue.suspend(job, actor=SYSTEM)
    assert (job.state, job.checkpoint, job.suspend_requested_at, job.lease) == (JobState.SUSPENDED, {"at": 7}, None, "")
    assert not runner.run(job.pk)
    queue.resume(job, actor=SYSTEM)
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result, job.attempts) == (JobState.COMPLETED, {"from": 7}, 1)


def test_a_cancel_wins_over_a_suspension_that_is_under_way(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        ctx.stop_seen.wait(30)
        queue.cancel(Job.objects.get(pk=ctx.job_id), actor=SYSTEM)
        ctx.raise_if_cancelled()

    with handled_by(settings, handler) as job:
        queue.suspend(job, actor=SYSTEM)
    assert job.state == JobState.CANCELLED


def test_a_job_that_is_to_rest_rests_instead_of_trying_again(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        Job.objects.filter(pk=ctx.job_id).update(suspend_requested_at=now())
        raise Unavailable("Away.")

    with handled_by(settings, handler) as job:
        pass
    assert (job.state, job.run_after) == (JobState.SUSPENDED, None)


def test_a_job_that_reports_nothing_new_stalls_and_is_tried_again(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        while not ctx.stop_seen.wait(0.05):
            ctx.progress(10, "waiting", done_bytes=5, total_bytes=50)  # the same again and again

    settings.JOB_HEARTBEAT_S = 0.1
    with handled_by(settings, raising(handler), stall_after_s=0.6, max_attempts=2) as job:
        pass
    assert (job.state, job.attempts) == (JobState.PENDING, 1)
    assert "Nothing new was heard" in job.message
    Job.objects.update(run_after=None)
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "stalled")
    assert job.error["hint"]


def raising(handler: Any) -> Any:
    def run(ctx: JobContext) -> None:
        handler(ctx)
        ctx.raise_if_cancelled()

    return run


def test_a_job_that_reports_something_new_does_not_stall(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        for number in range(12):
            assert not ctx.stop_seen.wait(0.1)
            ctx.progress(message="working", done_bytes=number)

    settings.JOB_HEARTBEAT_S = 0.1
    with handled_by(settings, handler, stall_after_s=0.8) as job:
        pass
    assert job.state == JobState.COMPLETED


def test_a_lost_lease_stops_the_handler_and_leaves_the_row_to_its_new_owner(settings: Any) -> None:
    seen: list[Any] = []

    def handler(ctx: JobContext) -> None:
        ctx.stop_seen.wait(30)
        seen.append(ctx.stopped_by)
        ctx.progress(99, "still me")
        ctx.raise_if_cancelled()

    with handled_by(settings, handler) as job:
        Job.objects.update(lease="another")
    assert seen == [LeaseLost]
    assert (job.state, job.lease, job.progress) == (JobState.RUNNING, "another", 0)


def test_the_reasons_have_one_family() -> None:
    assert JobStalled.__base__ is JobCancelled.__base__


def test_a_jobs_history_tells_what_happened(settings: Any) -> None:
    def handler(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise Unavailable("The key sk-abcdefghijklmnop is not taken right now.")

    with handled_by(settings, handler) as job:
        pass
    Job.objects.update(run_after=None)
    runner.run(job.pk)
    states = [(event.state, event.message) for event in job.events.all()]
    assert [state for state, _ in states] == ["running", "pending", "running", "completed"]
    assert states[0][1] == "attempt 1 of 3"
    assert "[redacted]" in states[1][1] and "sk-" not in states[1][1]


def test_of_a_long_history_the_newest_part_is_kept() -> None:
    from jobs.services import history

    job = queue.enqueue("add", params={}, actor=SYSTEM)
    for number in range(history.KEPT_PER_JOB + 9):
        history.note(job.pk, JobState.PENDING, str(number))
    assert history.events_of(job)[0].message == "9"
    assert job.events.count() == history.KEPT_PER_JOB
