from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.db import connection, transaction

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job, JobState, WorkerHeartbeat
from jobs.services import queue, runner, sweeping
from jobs.services.heartbeats import queue_ages_s, worker_seen

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


def test_a_long_queue_gets_no_message_twice_and_a_lost_one_again(drained: Callable[[], list[Any]]) -> None:
    for _ in range(5):
        job_in(JobState.PENDING, queued_at=now() - timedelta(hours=5))
    assert sweeping.sweep()["resent"] == 0
    drained()
    job_in(JobState.PENDING)  # its message is on its way
    assert sweeping.sweep()["resent"] == 5
    assert {message["args"][0] for message in drained()} == set(Job.objects.values_list("pk", flat=True))
    assert sweeping.sweep()["resent"] == 0, "they were sent a moment ago"


def test_a_dead_workers_job_that_was_to_rest_rests() -> None:
    job = abandoned(suspend_requested_at=now())
    sweeping.sweep()
    job.refresh_from_db()
    assert (job.state, job.suspend_requested_at) == (JobState.SUSPENDED, None)


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


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_an_old_job_that_is_being_retried_is_not_pruned() -> None:
    old = job_in(JobState.FAILED, finished_at=now() - timedelta(days=400))
    with ThreadPoolExecutor(1) as other, transaction.atomic():
        queue.retry(old, actor=SYSTEM)

        def prune() -> int:
            try:
                return sweeping.prune()
            finally:
                connection.close()

        assert other.submit(prune).result(30) == 0
    old.refresh_from_db()
    assert old.state == JobState.PENDING


def test_the_youngest_heartbeat_of_each_queue_counts() -> None:
    assert queue_ages_s() == {"default": None, "maintenance": None, "models": None}
    WorkerHeartbeat.objects.create(name="old", seen_at=now() - timedelta(hours=2), queues=["default", "models"])
    WorkerHeartbeat.objects.create(name="new", seen_at=now(), queues=["default"])
    ages = queue_ages_s()
    assert (ages["default"] or 0) < 5 and ages["maintenance"] is None and (ages["models"] or 0) > 7_000


def test_a_worker_says_which_queues_it_serves(settings: Any) -> None:
    worker_seen("all@here")
    assert WorkerHeartbeat.objects.get().queues == sorted(settings.JOB_QUEUES)
    current_app.amqp.queues.select(["models"])  # as the option --queues does
    try:
        worker_seen("models@here")
    finally:
        current_app.amqp.queues.select([])
        current_app.amqp.queues._consume_from = None
    assert WorkerHeartbeat.objects.get(name="models@here").queues == ["models"]


def test_a_worker_that_never_said_what_it_serves_may_serve_everything() -> None:
    WorkerHeartbeat.objects.create(name="of an older version", seen_at=now())
    assert all(age is not None for age in queue_ages_s().values())
