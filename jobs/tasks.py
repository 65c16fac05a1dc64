"""What the workers are told to do. Arguments are ids only; whatever counts is on the Job's row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import structlog
from celery import Task, shared_task
from celery.signals import worker_ready, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from jobs.services import broker, heartbeats, leaving, runner, sweeping

logger = structlog.get_logger(__name__)

READY_FILE = "LLMADMIN_READY_FILE"
UPKEEP = "maintenance"  # the queue that the scheduler's own messages go through
_ASKED_EVERY_S = 10.0


@shared_task(bind=True, ignore_result=True, soft_time_limit=600, time_limit=630)
def run(self: Task[Any, Any], job_id: str) -> None:
    """Do one job. Each message carries the time limits of its own job."""
    if self.request.is_eager:
        runner.run(job_id, worker=_worker(self))
        return
    _, soft_limit_s = self.request.timelimit or (None, None)
    runner.serve(job_id, limit_s=soft_limit_s or self.soft_time_limit or 0, worker=_worker(self))


@shared_task(bind=True, ignore_result=True, soft_time_limit=30, time_limit=45)
def heartbeat(self: Task[Any, Any]) -> None:
    """Sent by the scheduler: proves that scheduler, broker, worker and database work together.

    The workers of the other queues are asked in turn, unless something waits there: then they show that they live by
    what they do, and questions must not pile up behind it.
    """
    heartbeats.worker_seen(_worker(self))
    for queue in settings.JOB_QUEUES:
        if queue != UPKEEP and _is_empty(queue):
            answer.apply_async(queue=queue, expires=_ASKED_EVERY_S, retry=False)


@shared_task(bind=True, ignore_result=True, soft_time_limit=30, time_limit=45)
def answer(self: Task[Any, Any]) -> None:
    """Proves that a worker serves the queue that this came through."""
    heartbeats.worker_seen(_worker(self))


@shared_task(ignore_result=True, soft_time_limit=120, time_limit=150)
def sweep() -> None:
    sweeping.sweep()


@shared_task(ignore_result=True, soft_time_limit=600, time_limit=630)
def prune() -> None:
    sweeping.prune()


def _is_empty(queue: str) -> bool:
    try:
        return broker.depth(queue) == 0
    except OSError:
        return False


def _worker(task: Task[Any, Any]) -> str:
    return task.request.hostname or "in-process"


@worker_ready.connect
def announce(sender: Any = None, **_: Any) -> None:
    """A worker that takes messages says so: in the database, and in the file its supervisor waits for."""
    try:
        heartbeats.worker_seen(str(getattr(sender, "hostname", "worker")))
        sweeping.sweep()
    except DatabaseError as error:  # the next heartbeat will tell
        logger.warning("worker.not_announced", error=type(error).__name__)
    finally:
        close_old_connections()
    if path := os.environ.get(READY_FILE):
        Path(path).touch()


@worker_shutting_down.connect
def leave(**_: Any) -> None:
    """A worker that is told to stop does not wait for hours until its jobs are done."""
    leaving.say()
