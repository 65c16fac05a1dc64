from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job, JobState, WorkerHeartbeat
from jobs.services import queue, runner, sweeping
from jobs.services.heartbeats import worker_age_s, worker_seen

pytestmark = pytest.mark.django_db(transaction=True)


def job_in(state: JobState, **more: Any) -> Job:
    job = queue.enqueue("add", params={"numbers": [1]}, actor=SYSTEM)
    Job.objects.filter(pk=job.pk).update(state=state, **more)
    job.refresh_from_db()
    return job


def abandoned(**more: Any) -> Job:
    """A job whose worker has not been heard of for five minutes."""
    long_ago = now() - timedelta(minutes=5)
    values = {"lease": "dead", "attempts": 1, "started_at": long_ago, "heartbeat_at": long_ago, **more}
    return job_in(JobState.RUNNING, **values)


def test_a_dead_workers_job_is_done_by_another(drained: Callable[[], list[Any]]) -> None:
    job = abandoned()
    drained()
    assert sweeping.sweep()["revived"] == 1
    [message] = drained()
    assert message["args"] == [job.pk]
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.COMPLETED, 2)


def test_a_job_that_kills_its_workers_fails_in_the_end() -> None:
    job = abandoned(attempts=3, max_attempts=3)
    sweeping.sweep()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "worker_stopped")
    assert job.error["message"].startswith("The worker stopped")


def test_a_cancelled_job_of_a_dead_worker_is_not_done_again() -> None:
    job = abandoned(cancel_requested_at=now())
    sweeping.sweep()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_an_overdue_job_of_a_dead_worker_is_timed_out() -> None:
    job = abandoned(timeout_s=60)
    sweeping.sweep()
    job.refresh_from_db()
    assert job.state == JobState.TIMED_OUT


def test_a_job_that_is_being_done_is_left_alone() -> None:
    job = job_in(JobState.RUNNING, lease="alive", heartbeat_at=now(), started_at=now())
    assert sweeping.sweep() == {"revived": 0, "ended": 0, "resent": 0}
    job.refresh_from_db()
    assert job.lease == "alive"


def test_a_lost_message_is_sent_again_once(drained: Callable[[], list[Any]]) -> None:
    job = job_in(JobState.PENDING, queued_at=now() - timedelta(minutes=5))
    drained()
    assert sweeping.sweep()["resent"] == 1
    assert sweeping.sweep()["resent"] == 0
    assert [message["args"] for message in drained()] == [[job.pk]]


def test_a_message_that_waits_behind_others_is_not_doubled() -> None:
    job_in(JobState.PENDING, queued_at=now() - timedelta(minutes=5))  # and its message is still in the queue
    assert sweeping.sweep()["resent"] == 0


def test_a_job_is_sent_when_its_time_has_come(drained: Callable[[], list[Any]]) -> None:
    job = queue.enqueue("add", params={}, actor=SYSTEM, run_after=now() + timedelta(minutes=5))
    assert sweeping.sweep()["resent"] == 0
    with time_machine.travel(now() + timedelta(minutes=6)):
        assert sweeping.sweep()["resent"] == 1
        assert sweeping.sweep()["resent"] == 0
    assert [message["args"] for message in drained()] == [[job.pk]]


def test_old_jobs_and_forgotten_workers_are_pruned(settings: Any) -> None:
    settings.JOB_RETENTION_DAYS = 7
    old = job_in(JobState.COMPLETED, finished_at=now() - timedelta(days=8))
    kept = [
        job_in(JobState.FAILED, finished_at=now() - timedelta(days=6)),
        job_in(JobState.PENDING),
    ]
    WorkerHeartbeat.objects.create(name="gone", seen_at=now() - timedelta(days=2))
    worker_seen("here")
    assert sweeping.prune() == 1
    assert not Job.objects.filter(pk=old.pk).exists()
    assert Job.objects.count() == len(kept)
    assert [worker.name for worker in WorkerHeartbeat.objects.all()] == ["here"]


def test_the_age_of_the_youngest_heartbeat_counts() -> None:
    assert worker_age_s() is None
    WorkerHeartbeat.objects.create(name="old", seen_at=now() - timedelta(hours=2))
    worker_seen("new")
    worker_seen("new")
    assert worker_age_s() < 5
