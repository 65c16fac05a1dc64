"""The broker behind the queue: is it there, how much waits in it, and the one way to put a job's id into it."""

from __future__ import annotations

import os
from pathlib import Path

import redis
import structlog
from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError

from jobs.models import Job

RUN = "jobs.tasks.run"
_CONNECT_TIMEOUT_S = 2.0
_GRACE_S = 30  # between asking a handler to stop and killing the process it runs in
logger = structlog.get_logger(__name__)


def send(job: Job) -> bool:
    """Tell the workers of a job. False, and a line in the log, when the broker does not answer: `sweep` tries again."""
    task = current_app.signature(RUN, args=[job.pk])
    try:
        task.apply_async(
            queue=job.queue,
            soft_time_limit=job.timeout_s,
            time_limit=job.timeout_s + _GRACE_S,
            retry=False,
            ignore_result=True,
        )
    except (OSError, KombuError, redis.RedisError) as error:
        logger.warning("job.not_sent", job_id=job.pk, error=type(error).__name__)
        return False
    return True


def check() -> None:
    """Raise OSError unless the broker takes messages right now."""
    if not settings.REDIS_URL:
        for folder in (settings.QUEUE_DIR / "messages", settings.QUEUE_DIR / "control"):
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise OSError(f"{folder.name} is not a writable folder")
        return
    try:
        with _redis() as client:
            client.ping()
    except redis.RedisError as error:
        raise OSError(type(error).__name__) from error


def depth(*queues: str) -> int:
    """How many messages wait in these queues (none named: in all). Raises OSError when the broker does not answer."""
    wanted = queues or settings.JOB_QUEUES
    if not settings.REDIS_URL:
        ends = tuple(f".{queue}.msg" for queue in wanted)
        return sum(1 for name in os.listdir(Path(settings.QUEUE_DIR) / "messages") if name.endswith(ends))
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    try:
        with _redis() as client:
            return sum(int(client.llen(f"{prefix}{queue}")) for queue in wanted)
    except redis.RedisError as error:
        raise OSError(type(error).__name__) from error


def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=_CONNECT_TIMEOUT_S, socket_timeout=_CONNECT_TIMEOUT_S
    )
