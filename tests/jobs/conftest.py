from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import current_app

from tests.jobs.handlers import TYPES


@pytest.fixture(autouse=True)
def job_types(settings: Any) -> None:
    """The jobs of tests/jobs/handlers.py are known."""
    settings.JOB_TYPES = {**settings.JOB_TYPES, **TYPES}


@pytest.fixture
def drained(settings: Any) -> Callable[[], list[dict[str, Any]]]:
    """Takes all messages out of the queue: their arguments and time limits."""

    def drain() -> list[dict[str, Any]]:
        found = []
        with current_app.connection_for_read() as connection:
            for name in settings.JOB_QUEUES:
                simple = connection.SimpleQueue(current_app.amqp.queues[name])
                while True:
                    try:
                        message = simple.get(block=False)
                    except simple.Empty:
                        break
                    message.ack()
                    args, kwargs, _ = message.payload
                    limits = message.headers["timelimit"]
                    found.append({"args": args, "kwargs": kwargs, "timelimit": limits, "queue": name})
                simple.close()
        return found

    drain()
    return drain


@pytest.fixture
def broken_broker(settings: Any) -> Iterator[None]:
    """Nothing can be put into the queue."""
    if settings.REDIS_URL:
        kept = current_app.conf.broker_write_url
        current_app.conf.broker_write_url = "redis://127.0.0.1:1/0"
        current_app.amqp._producer_pool = None
        yield
        current_app.conf.broker_write_url = kept
        current_app.amqp._producer_pool = None
        return
    folder = settings.QUEUE_DIR / "messages"
    hidden = folder.rename(settings.QUEUE_DIR / "hidden")
    folder.write_text("not a folder")
    yield
    folder.unlink()
    hidden.rename(folder)


@pytest.fixture(autouse=True)
def empty_queue(settings: Any) -> Iterator[None]:
    """No message of one test is left for the next."""
    yield
    if not settings.REDIS_URL:
        for file in (settings.QUEUE_DIR / "messages").iterdir():
            file.unlink(missing_ok=True)
        return
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        if keys := list(client.scan_iter(f"{settings.CELERY_BROKER_TRANSPORT_OPTIONS['global_keyprefix']}*")):
            client.delete(*keys)
