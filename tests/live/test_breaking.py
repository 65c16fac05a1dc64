"""A running installation whose parts are killed and broken."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import backend
from tests.live.processes import family, gone, until
from tests.live.stack import Stack, fetch


@pytest.fixture(scope="module")
def breakable() -> Any:
    """An installation with the jobs of the tests, whose parts may be killed and broken."""
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.live.settings",
        "JOB_HEARTBEAT_S": "0.5",
        "JOB_LEASE_S": "3",
        "WEB_WORKERS": "2",
    }
    stack = Stack(env=env, prepared_by="bootstrap").start()
    yield stack
    stack.close()


def enqueue(stack: Stack, type: str, params: dict[str, Any]) -> str:
    code = (
        "from jobs.services import queue; from core.audit import SYSTEM;"
        f"print(queue.enqueue({type!r}, params={params!r}, actor=SYSTEM).pk)"
    )
    return stack.manage("shell", "-v", "0", "-c", code).split()[-1]


def job(stack: Stack, pk: str) -> dict[str, Any]:
    code = (
        "from jobs.models import Job; import json;"
        f"print(json.dumps(Job.objects.values('state', 'attempts', 'result', 'error').get(pk={pk!r})))"
    )
    return json.loads(stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1])


def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(breakable: Stack, tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    pk = enqueue(breakable, "mark", {"file": str(file), "seconds": 120})
    first = until(lambda: file.exists() and file.read_text())
    pool_process = int(first.split()[1])
    breakable.restart_worker(signal.SIGKILL)
    assert gone([pool_process]), "the process that did the job ends with its worker"
    until(lambda: len(file.read_text().splitlines()) == 2, within_s=40)
    ended = until(lambda: (found := job(breakable, pk))["state"] != "running" and found)
    assert (ended["state"], ended["attempts"], ended["result"]) == ("completed", 2, {"attempt": 2})


def test_a_killed_pool_process_loses_nothing_either(breakable: Stack, tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    pk = enqueue(breakable, "mark", {"file": str(file), "seconds": 120})
    first = until(lambda: file.exists() and file.read_text())
    os.kill(int(first.split()[1]), signal.SIGKILL)
    until(lambda: len(file.read_text().splitlines()) == 2, within_s=40)
    ended = until(lambda: (found := job(breakable, pk))["state"] != "running" and found)
    assert (ended["state"], ended["attempts"]) == ("completed", 2)


def test_a_web_process_that_dies_is_replaced_and_nobody_notices(breakable: Stack) -> None:
    old = breakable.pids()["web 1"]
    os.kill(old, signal.SIGKILL)
    assert all(fetch(f"{breakable.url}/healthz")[0] == 200 for _ in range(10))
    until(lambda: breakable.pids()["web 1"] != old)


def test_a_silent_worker_makes_it_not_ready_until_it_speaks_again(breakable: Stack) -> None:
    workers = family(breakable.worker_pid())
    age = (
        "from jobs.models import WorkerHeartbeat; from core.clock import now; from datetime import timedelta;"
        "WorkerHeartbeat.objects.update(seen_at=now() - timedelta(seconds=61))"
    )
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(0.5)
        breakable.manage("shell", "-v", "0", "-c", age)
        status, body = breakable.get("/readyz")
        assert (status, body["status"]) == (503, "not ready")
        assert [name for name, part in body["parts"].items() if not part["ok"]] == ["worker"]
        assert breakable.get("/healthz")[0] == 200
    finally:
        for pid in reversed(workers):
            os.kill(pid, signal.SIGCONT)
    until(lambda: breakable.get("/readyz")[0] == 200)


def break_database(stack: Stack) -> Callable[[], None]:
    """Take the database away; returns what gives it back."""
    if "DATABASE_URL" not in stack.env:
        kept = stack.data_dir / "kept"
        kept.mkdir()
        files = list(stack.data_dir.glob("db.sqlite3*"))
        for file in files:
            file.rename(kept / file.name)

        def give_back() -> None:
            for file in stack.data_dir.glob("db.sqlite3*"):
                file.unlink()
            for file in kept.iterdir():
                file.rename(stack.data_dir / file.name)

        return give_back

    def allow(answer: str) -> None:
        with psycopg.connect(backend.server_urls()[0], autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{stack.name}" WITH ALLOW_CONNECTIONS {answer}')
            if answer == "false":
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [stack.name])

    allow("false")
    return lambda: allow("true")


def test_a_broken_database_makes_it_not_ready_until_it_is_back(breakable: Stack) -> None:
    give_back = break_database(breakable)
    try:
        _, body = until(lambda: (found := breakable.get("/readyz"))[0] == 503 and found)
        assert not body["parts"]["database"]["ok"]
        assert "sqlite" not in json.dumps(body).lower()
        assert breakable.get("/healthz")[0] == 200
    finally:
        give_back()
    until(lambda: breakable.get("/readyz")[0] == 200)
