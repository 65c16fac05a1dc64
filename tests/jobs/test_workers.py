"""Real workers, really killed; many jobs at once, and few that must not wait for them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.processes import until
from tests.live.stack import Stack


@pytest.fixture(scope="module")
def place() -> Iterator[Stack]:
    """An installation with the jobs of the tests."""
    env = {"DJANGO_SETTINGS_MODULE": "tests.live.settings", "JOB_HEARTBEAT_S": "0.5", "JOB_LEASE_S": "3"}
    stack = Stack(env=env, prepared_by="bootstrap").start()
    yield stack
    stack.close()


def shell(stack: Stack, code: str) -> Any:
    """What the code leaves in `out`, run where the installation's database is."""
    lines = (
        "import json; from core.audit import SYSTEM; from jobs.models import Job; from jobs.services import queue",
        code,
        "print(json.dumps(out, default=str))",
    )
    return json.loads(stack.manage("shell", "-v", "0", "-c", "\n".join(lines)).strip().splitlines()[-1])


def enqueue(stack: Stack, type: str, params: dict[str, Any]) -> str:
    made = f"queue.enqueue({type!r}, params={params!r}, tenant_id={stack.tenant_id!r}, actor=SYSTEM).pk"
    return str(shell(stack, f"out = {made}"))


def job(stack: Stack, pk: str) -> dict[str, Any]:
    status, found = stack.get(f"/jobs/{pk}")
    assert status == 200, found
    return dict(found)


def over(stack: Stack, pk: str, *, within_s: float = 60) -> dict[str, Any]:
    return dict(until(lambda: (found := job(stack, pk))["finished_at"] and found, within_s=within_s))


def seconds_between(found: dict[str, Any], first: str, last: str) -> float:
    from django.utils.dateparse import parse_datetime

    started, ended = parse_datetime(found[first]), parse_datetime(found[last])
    assert started and ended
    return (ended - started).total_seconds()


def chunks(file: Path) -> list[tuple[int, int]]:
    return [(int(line.split()[0]), int(line.split()[1])) for line in file.read_text().splitlines()]


def test_a_download_whose_worker_is_killed_goes_on_where_it_was(place: Stack, tmp_path: Path) -> None:
    file = tmp_path / "chunks"
    pk = enqueue(place, "download", {"file": str(file), "chunks": 60, "seconds": 0.05})
    until(lambda: file.exists() and len(chunks(file)) > 10)
    shown = until(lambda: (found := job(place, pk))["progress_detail"].get("rate_bytes_per_s") and found)
    assert 0 < shown["progress"] < 100
    assert shown["progress_detail"]["eta_s"] >= 0
    place.restart_worker(signal.SIGKILL, name="models-worker")
    ended = over(place, pk)
    assert (ended["state"], ended["attempts"]) == ("completed", 2)
    numbers = [number for number, _ in chunks(file)]
    assert sorted(set(numbers)) == list(range(60))
    assert len(numbers) <= 61, "only the chunk it was killed in is done again"


def test_a_worker_that_is_told_to_stop_gives_its_jobs_back(place: Stack, tmp_path: Path) -> None:
    file = tmp_path / "chunks"
    pk = enqueue(place, "download", {"file": str(file), "chunks": 30, "seconds": 20})
    until(lambda: file.exists())
    place.restart_worker(signal.SIGTERM, name="models-worker")
    until(lambda: len(chunks(file)) > 1)
    found = job(place, pk)
    assert (found["state"], found["attempts"]) == ("running", 1), "it was given back, and lost no attempt"
    told = shell(place, f"out = list(Job.objects.get(pk={pk!r}).events.values_list('message', flat=True))")
    assert "The worker was stopped; another one goes on." in told
    shell(place, f"out = queue.cancel(Job.objects.get(pk={pk!r}), actor=SYSTEM).state")
    assert over(place, pk)["state"] == "cancelled"


def test_a_worker_that_has_nothing_to_do_is_seen_all_the_same(place: Stack) -> None:
    code = (
        "from jobs.models import WorkerHeartbeat",
        "out = WorkerHeartbeat.objects.get(name__startswith='models-worker').seen_at",
    )
    before = shell(place, "\n".join(code))
    until(lambda: shell(place, "\n".join(code)) > before, within_s=60)


def test_scheduler_and_web_may_die_meanwhile(place: Stack, tmp_path: Path) -> None:
    file = tmp_path / "chunks"
    pk = enqueue(place, "download", {"file": str(file), "chunks": 60, "seconds": 0.05})
    until(lambda: file.exists() and len(chunks(file)) > 3)
    for name in ("scheduler", "web"):
        os.kill(place.pids()[name], signal.SIGKILL)
    until(lambda: place.get("/readyz")[0] == 200)
    ended = over(place, pk)
    assert (ended["state"], ended["attempts"], len(chunks(file))) == ("completed", 1, 60)


def test_a_cancel_and_a_suspension_take_effect_within_two_seconds(place: Stack, tmp_path: Path) -> None:
    file = tmp_path / "chunks"
    pk = enqueue(place, "download", {"file": str(file), "chunks": 3, "seconds": 600})
    until(lambda: file.exists())
    shell(place, f"out = queue.suspend(Job.objects.get(pk={pk!r}), actor=SYSTEM).state")
    asked = time.monotonic()
    until(lambda: job(place, pk)["state"] == "suspended")
    assert time.monotonic() - asked < 10
    shell(place, f"out = queue.resume(Job.objects.get(pk={pk!r}), actor=SYSTEM).state")
    until(lambda: job(place, pk)["state"] == "running")
    shell(place, f"out = queue.cancel(Job.objects.get(pk={pk!r}), actor=SYSTEM).state")
    ended = over(place, pk)
    assert ended["state"] == "cancelled"
    assert seconds_between(ended, "cancel_requested_at", "finished_at") < 5


def test_a_handler_that_hangs_is_torn_out_of_it(place: Stack) -> None:
    pk = enqueue(place, "hang", {})
    ended = over(place, pk, within_s=60)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "stalled")
    assert place.worker_pid("models-worker")


def test_two_hundred_long_jobs_finish_in_their_order_and_keep_no_short_one_waiting(place: Stack) -> None:
    *made, short = shell(
        place,
        "out = [queue.enqueue('nap', params={'seconds': 0.15}, actor=SYSTEM).pk for _ in range(200)]\n"
        f"out += [queue.enqueue('add', params={{'numbers': [1]}}, tenant_id={place.tenant_id!r}, actor=SYSTEM).pk]",
    )
    ended = over(place, short)
    assert ended["state"] == "completed"
    assert seconds_between(ended, "created_at", "started_at") < 5
    left = "out = Job.objects.filter(type='nap').exclude(state='completed').count()"
    until(lambda: shell(place, left) == 0, within_s=120)
    begun = shell(
        place,
        "out = [str(pk) for pk in Job.objects.filter(type='nap').order_by('started_at').values_list('pk', flat=True)]",
    )
    assert sorted(begun) == sorted(made)
    later = shell(place, f"out = Job.objects.filter(type='nap', started_at__gt={ended['finished_at']!r}).count()")
    assert later > 20, "it did not wait for the long ones"
    places = {pk: number for number, pk in enumerate(made)}
    assert max(abs(places[pk] - number) for number, pk in enumerate(begun)) <= 2, "two are begun at the same time"
    attempts = shell(
        place, "out = list(Job.objects.filter(type='nap').order_by().values_list('attempts', flat=True).distinct())"
    )
    assert attempts == [1]
