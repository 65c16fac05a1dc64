from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from core.clock import now
from gateway.pipeline import Engine
from jobs.models import WorkerHeartbeat
from jobs.services.heartbeats import worker_seen
from providers.upstream import Pool
from tests.gateway.test_metrics import record
from usage.admission import Limit
from usage.counters.memory import MemoryCounters
from usage.counters.redis import RedisCounters
from usage.spool import Spool

pytestmark = pytest.mark.django_db(transaction=True)


def failing(client: Client) -> list[str]:
    """The parts that /readyz complains of; its status must agree."""
    answer = client.get("/readyz")
    found = [name for name, part in answer.json()["parts"].items() if not part["ok"]]
    assert answer.status_code == (503 if found else 200)
    assert answer["Cache-Control"].startswith("max-age=0")
    return found


def test_it_is_ready_when_a_worker_has_just_been_seen(client: Client) -> None:
    worker_seen("worker@here")
    assert failing(client) == []


def test_it_is_not_ready_before_any_worker_was_seen(client: Client) -> None:
    assert failing(client) == ["worker"]


def test_it_is_not_ready_when_the_worker_has_gone_silent(client: Client) -> None:
    WorkerHeartbeat.objects.create(name="worker@here", seen_at=now() - timedelta(seconds=61))
    assert failing(client) == ["worker"]


def test_a_queue_that_nobody_works_on_is_named(client: Client) -> None:
    """Answers wait for no job of it: what is not a download goes on."""
    worker_seen("worker@here")
    WorkerHeartbeat.objects.update(queues=["default", "maintenance"])
    body = client.get("/readyz").json()
    assert failing(client) == [] and body["status"] == "degraded"
    assert body["parts"]["worker"]["queues"] == {"default": True, "maintenance": True, "models": False}
    assert body["parts"]["worker"]["detail"].endswith("models: no worker has been seen yet")
    WorkerHeartbeat.objects.create(name="models@here", seen_at=now() - timedelta(seconds=61), queues=["models"])
    assert "models: last seen 61 s ago" in client.get("/readyz").json()["parts"]["worker"]["detail"]
    WorkerHeartbeat.objects.update(seen_at=now())
    assert client.get("/readyz").json()["status"] == "ready"


def test_a_worker_for_something_else_makes_nothing_ready(client: Client) -> None:
    WorkerHeartbeat.objects.create(name="models@here", seen_at=now(), queues=["models"])
    assert failing(client) == ["worker"]


def test_it_is_not_ready_without_its_broker_and_says_no_address(client: Client, settings: Any) -> None:
    worker_seen("worker@here")
    settings.REDIS_URL = "redis://user:secret-of-redis@127.0.0.1:1/0"
    assert failing(client) == ["broker"]
    body = json.dumps(client.get("/readyz").json())
    assert "secret-of-redis" not in body
    assert "127.0.0.1" not in body


def test_it_is_not_ready_without_its_queue_folder(client: Client, settings: Any, tmp_path: Any) -> None:
    worker_seen("worker@here")
    settings.REDIS_URL, settings.QUEUE_DIR = "", tmp_path / "gone"
    assert failing(client) == ["broker"]


def test_being_alive_asks_nobody_else(client: Client, settings: Any, django_assert_num_queries: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_only_read(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
    assert client.head(path).status_code in {200, 503}


def full_spool(folder: Path) -> Spool:
    spool = Spool(folder, max_bytes=4_000)
    while spool.has_room:
        spool.append(record())
    return spool


def engine(folder: Path, **parts: Any) -> Engine:
    return Engine(**{"pool": Pool(), "counters": MemoryCounters(), "spool": Spool(folder), **parts})


def test_it_is_not_ready_when_no_more_calls_can_be_recorded(client: Client, tmp_path: Path) -> None:
    worker_seen("worker@here")
    spool = full_spool(tmp_path)
    full = engine(tmp_path, spool=spool)
    assert failing(client) == ["spool"]
    asyncio.run(full.close())
    spool.close()
    assert failing(client) == []


def test_it_is_ready_but_degraded_while_limits_are_counted_without_redis(client: Client, tmp_path: Path) -> None:
    worker_seen("worker@here")

    async def ask() -> tuple[str, bool]:
        counters = RedisCounters("redis://127.0.0.1:1/0")
        limit = Limit("{t}:requests", "requests", 5, "this token")
        counting = engine(tmp_path, counters=counters)
        await counters.admit([limit], [], tokens=1, units=None, now=time.time())
        body = (await asyncio.to_thread(client.get, "/readyz")).json()
        await counting.close()
        return body["status"], body["parts"]["limits"]["ok"]

    assert asyncio.run(ask()) == ("degraded", True)
    assert client.get("/readyz").json()["status"] == "ready"
