"""What the workers are told to do. Arguments are ids only; whatever counts is on the Job's row."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import structlog
from celery import Task, shared_task
from celery.signals import worker_ready
from django.db import DatabaseError, close_old_connections

from jobs.services import heartbeats, runner, sweeping

logger = structlog.get_logger(__name__)

READY_FILE = "LLMADMIN_READY_FILE"


@shared_task(bind=True, ignore_result=True, soft_time_limit=600, time_limit=630)
def run(self: Task[Any, Any], job_id: str) -> None:
    """Do one job. Each message carries the time limits of its own job."""
    runner.run(job_id, worker=_worker(self))


@shared_task(bind=True, ignore_result=True, soft_time_limit=30, time_limit=45)
def heartbeat(self: Task[Any, Any]) -> None:
    """Sent by the scheduler: proves that scheduler, broker, worker and database work together."""
    heartbeats.worker_seen(_worker(self))


@shared_task(ignore_result=True, soft_time_limit=120, time_limit=150)
def sweep() -> None:
    sweeping.sweep()


@shared_task(ignore_result=True, soft_time_limit=600, time_limit=630)
def prune() -> None:
    sweeping.prune()


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
