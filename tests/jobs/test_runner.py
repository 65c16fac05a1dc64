from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job, JobState
from jobs.services import queue, runner
from jobs.services.context import JobCancelled, JobContext, JobTimedOut, LeaseLost


def done(type: str, params: dict[str, Any] | None = None, **more: Any) -> Job:
    """A job of that type, after one attempt."""
    job = queue.enqueue(type, params=params or {}, actor=SYSTEM, **more)
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def until_running(job: Job) -> None:
    end = time.monotonic() + 10
    while not Job.objects.filter(pk=job.pk, state=JobState.RUNNING).exists():
        assert time.monotonic() < end, "nobody began it"
        time.sleep(0.02)


def in_background(job: Job) -> threading.Thread:
    def work() -> None:
        runner.run(job.pk)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def claimed(**more: Any) -> JobContext:
    """The context of a job that is being done."""
    job = queue.enqueue("add", params={}, actor=SYSTEM)
    Job.objects.filter(pk=job.pk).update(**{"state": JobState.RUNNING, "lease": "mine", **more})
    job.refresh_from_db()
    return JobContext.of(job, deadline=now() + timedelta(minutes=1))


@pytest.mark.django_db
def test_a_job_ends_with_its_result() -> None:
    job = done("add", {"numbers": [1, 2, 39]})
    assert (job.state, job.result, job.progress, job.attempts) == (JobState.COMPLETED, {"sum": 42}, 100, 1)
    assert job.lease == ""
    assert job.duration is not None


@pytest.mark.django_db
def test_an_error_of_ours_is_told_without_its_secrets() -> None:
    job = done("refuse")
    assert job.state == JobState.FAILED
    assert job.error == {"code": "taken", "message": "The key [redacted] is taken.", "hint": "Use another."}


@pytest.mark.django_db
def test_any_other_error_is_told_in_general_terms_only(caplog: pytest.LogCaptureFixture) -> None:
    job = done("break_down")
    assert (job.state, job.error["code"]) == (JobState.FAILED, "internal_error")
    assert "internal detail" not in str(job.error)
    assert "internal detail" in caplog.text


@pytest.mark.django_db
def test_a_passing_failure_is_tried_again_later_and_later() -> None:
    job = done("be_unavailable", max_attempts=3)
    assert (job.state, job.error) == (JobState.PENDING, {})
    assert job.run_after is not None
    assert timedelta(seconds=2) < job.run_after - now() < timedelta(seconds=7)
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.attempts == 1, "not before its time"
    Job.objects.update(run_after=now())
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.run_after - now() > timedelta(seconds=10)


@pytest.mark.django_db
@pytest.mark.parametrize("type", ["be_unavailable", "lose_database"])
def test_a_failure_that_does_not_pass_ends_with_the_last_attempt(type: str) -> None:
    job = done(type, max_attempts=1)
    assert (job.state, job.error["code"]) == (JobState.FAILED, "unavailable")


@pytest.mark.django_db
def test_a_retry_goes_on_where_the_job_stopped() -> None:
    job = done("steps")
    assert (job.state, job.checkpoint) == (JobState.FAILED, {"done": ["first"]})
    queue.retry(job, actor=SYSTEM)
    Job.objects.update(params={"again": True})
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.result == {"done": ["first", "second"]}


@pytest.mark.django_db
@pytest.mark.parametrize("state", sorted(set(JobState.values) - {JobState.PENDING}))
def test_only_a_pending_job_is_begun(state: str) -> None:
    job = queue.enqueue("add", params={"numbers": []}, actor=SYSTEM)
    Job.objects.update(state=state)
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (state, 0)


@pytest.mark.django_db(transaction=True)
def test_a_message_delivered_twice_is_done_once() -> None:
    job = queue.enqueue("sleep", params={"seconds": 0.2}, actor=SYSTEM)
    threads = [in_background(job) for _ in range(3)]
    for thread in threads:
        thread.join()
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)


@pytest.mark.django_db(transaction=True)
def test_a_running_job_stops_when_it_is_cancelled() -> None:
    job = queue.enqueue("until_cancelled", params={}, actor=SYSTEM)
    thread = in_background(job)
    until_running(job)
    queue.cancel(job, actor=SYSTEM)
    thread.join(5)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_a_job_past_its_time_is_timed_out() -> None:
    job = done("until_cancelled", timeout_s=1)
    assert (job.state, job.error["code"]) == (JobState.TIMED_OUT, "timed_out")


@pytest.mark.django_db(transaction=True)
def test_a_running_job_is_confirmed_by_its_heartbeat(settings: Any) -> None:
    settings.JOB_HEARTBEAT_S = 0.1
    job = queue.enqueue("sleep", params={"seconds": 0.6}, actor=SYSTEM)
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.heartbeat_at - job.started_at > timedelta(seconds=0.3)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lost_its_job_cannot_finish_it() -> None:
    job = queue.enqueue("sleep", params={"seconds": 0.5}, actor=SYSTEM)
    thread = in_background(job)
    until_running(job)
    Job.objects.update(lease="another worker's", message="being done elsewhere")
    thread.join()
    job.refresh_from_db()
    assert (job.state, job.lease, job.result) == (JobState.RUNNING, "another worker's", {})


@pytest.mark.django_db
def test_progress_is_shown_within_bounds_and_without_secrets() -> None:
    context = claimed()
    context.progress(250, "testing sk-abcdefghijklmnop")
    job = Job.objects.get()
    assert (job.progress, job.message) == (100, "testing [redacted]")


@pytest.mark.django_db
def test_a_completed_job_says_nothing_any_more_of_what_was_under_way(tmp_path: Path) -> None:
    job = done("download", {"chunks": 2, "file": str(tmp_path / "chunks"), "seconds": 0})
    assert (job.state, job.progress, job.message) == (JobState.COMPLETED, 100, "")
    assert job.progress_detail == {"done_bytes": 2_000_000, "total_bytes": 2_000_000}


@pytest.mark.django_db
def test_a_cancelled_lost_or_overdue_job_says_so_to_its_handler() -> None:
    with pytest.raises(JobCancelled):
        claimed(cancel_requested_at=now()).raise_if_cancelled()
    with pytest.raises(LeaseLost):
        lost = claimed()
        Job.objects.filter(pk=lost.job_id).update(lease="another's")
        lost.raise_if_cancelled()
    overdue = claimed()
    overdue.deadline = now()
    with pytest.raises(JobTimedOut):
        overdue.raise_if_cancelled()
    claimed().raise_if_cancelled()


@pytest.mark.django_db
def test_a_job_counts_its_attempts() -> None:
    job = done("be_unavailable", {"times": 1})
    Job.objects.update(run_after=F("created_at"))
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.result == {"attempt": 2}


@pytest.mark.django_db(transaction=True)
def test_jobs_are_done_at_the_commit_where_a_test_wants_it(jobs_run_at_once: None) -> None:
    job = queue.enqueue("add", params={"numbers": [1]}, actor=SYSTEM)
    assert queue.wait(job.pk, timeout_s=0).state == JobState.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_a_message_is_for_the_oldest_job_of_its_queue() -> None:
    first, second, elsewhere = (
        queue.enqueue(type, params={"numbers": [1], "seconds": 0}, actor=SYSTEM) for type in ("add", "add", "nap")
    )
    runner.serve(second.pk, limit_s=600)
    assert states(first, second, elsewhere) == ["completed", "pending", "pending"]
    runner.serve(second.pk, limit_s=600)
    runner.serve(second.pk, limit_s=600)
    assert states(first, second, elsewhere) == ["completed", "completed", "pending"]
    runner.serve("0" * 32, limit_s=600)


@pytest.mark.django_db(transaction=True)
def test_a_message_does_no_job_that_may_take_longer_than_itself_and_sends_another_for_it(drained: Any) -> None:
    short = queue.enqueue("add", params={"numbers": []}, actor=SYSTEM, timeout_s=60)
    long = queue.enqueue("add", params={"numbers": []}, actor=SYSTEM, timeout_s=3600)
    runner.run(short.pk)
    drained()
    runner.serve(short.pk, limit_s=60)
    assert states(long) == ["pending"]
    [message] = drained()
    assert (message["args"], message["timelimit"]) == ([long.pk], [3630, 3600])


@pytest.mark.django_db(transaction=True)
def test_jobs_of_each_queue_are_sent_to_it(drained: Any) -> None:
    for type in ("add", "nap", "rotate_secrets"):
        queue.enqueue(type, params={}, actor=SYSTEM)
    assert [message["queue"] for message in drained()] == ["default", "maintenance", "models"]


def states(*jobs: Job) -> list[str]:
    found = dict(Job.objects.values_list("pk", "state"))
    return [found[job.pk] for job in jobs]
