"""The broker behind the queue: is it there, how much waits in it, and the one way to put a job's id into it."""

from __future__ import annotations

import os
from pathlib import Path

import redis
import structlog
from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError

RUN = "jobs.tasks.run"
_CONNECT_TIMEOUT_S = 2.0
_GRACE_S = 30  # between asking a handler to stop and killing the process it runs in
logger = structlog.get_logger(__name__)


def send(job_id: str, *, timeout_s: int) -> bool:
    """Tell the workers of a job. False, and a line in the log, when the broker does not answer: `sweep` tries again."""
    task = current_app.signature(RUN, args=[job_id])
    try:
        task.apply_async(
            soft_time_limit=timeout_s,
            time_limit=timeout_s + _GRACE_S,
            retry=False,
            ignore_result=True,
        )
    except (OSError, KombuError, redis.RedisError) as error:
        logger.warning("job.not_sent", job_id=job_id, error=type(error).__name__)
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


def depth() -> int:
    """How many messages wait. Raises OSError when the broker does not answer."""
    queue = current_app.conf.task_default_queue
    if not settings.REDIS_URL:
        return sum(1 for name in os.listdir(Path(settings.QUEUE_DIR) / "messages") if name.endswith(f".{queue}.msg"))
    try:
        with _redis() as client:
            return int(client.llen(f"{settings.CELERY_BROKER_TRANSPORT_OPTIONS['global_keyprefix']}{queue}"))
    except redis.RedisError as error:
        raise OSError(type(error).__name__) from error


def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=_CONNECT_TIMEOUT_S, socket_timeout=_CONNECT_TIMEOUT_S
    )
