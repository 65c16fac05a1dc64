"""A job's progress as server-sent events, over a real server and real sockets."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import rest_framework.views  # noqa: F401  (core.drf and it import each other: this one has to be first)
from django.core.asgi import get_asgi_application
from django.db import connection

from jobs.api import events
from jobs.models import Job, JobState
from tests.api.world import session
from tests.fakes.http import running as serving
from tests.live.processes import until
from tests.people import People, make_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def port(transactional_db: None) -> Iterator[int]:
    """Django's own ASGI application, served in another thread."""
    with serving(get_asgi_application(), timeout_graceful_shutdown=1) as (_, chosen, _):
        yield chosen
    events._reader.submit(lambda: connection.close()).result(10)


class Listener:
    """One who listens; `next` is what comes next, but for comments."""

    def __init__(self, port: int, path: str, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        self.connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        self.answer = self.connection.getresponse()

    def next(self) -> dict[str, Any] | None:
        """One event with its data read; None at the end of the stream."""
        found: dict[str, Any] = {}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name in ("event", "id", "data"):
                found[name] = value
            elif not line.strip() and found:
                return {**found, "data": json.loads(found["data"])}
        return None

    def close(self) -> None:
        self.connection.close()
        self.answer.close()


@contextmanager
def listening(port: int, people: People, job: Job, path: str = "/jobs/{}/events", **headers: str) -> Iterator[Listener]:
    token = make_token(people.tenant, scopes=["read"], user=people.owner)
    listener = Listener(port, path.format(job.pk), Authorization=f"Bearer {token}", **headers)
    try:
        yield listener
    finally:
        listener.close()


def running(people: People, **more: Any) -> Job:
    return Job.objects.create(type="add", state=JobState.RUNNING, lease="x", tenant_id=people.tenant.pk, **more)


def update(job: Job, **values: Any) -> None:
    Job.objects.filter(pk=job.pk).update(**values)


@pytest.mark.parametrize("path", ["/jobs/{}/events", "/api/jobs/{}/events/"])
def test_progress_comes_as_it_is_made_and_the_end_with_the_whole_job(port: int, people: People, path: str) -> None:
    job = running(people, progress=5)
    with listening(port, people, job, path) as listener:
        assert (listener.answer.status, listener.answer.headers["Content-Type"]) == (200, "text/event-stream")
        first = listener.next()
        assert first and (first["event"], first["data"]["progress"]) == ("progress", 5)
        update(job, progress=60, message="Pulling", progress_detail={"done_bytes": 6, "eta_s": 4})
        second = listener.next()
        assert second and (second["data"]["progress_detail"], second["data"]["message"]) == (
            {"done_bytes": 6, "eta_s": 4}, "Pulling",
        )  # fmt: skip
        assert second["id"] != first["id"]
        update(job, state=JobState.COMPLETED, progress=100, result={"sum": 3}, lease="")
        third, end = listener.next(), listener.next()
        assert third and third["data"]["state"] == "completed"
        assert end and (end["event"], end["data"]["id"], end["data"]["result"]) == ("end", job.pk, {"sum": 3})
        assert listener.next() is None


def test_a_job_that_is_over_ends_the_stream_at_once(port: int, people: People) -> None:
    job = Job.objects.create(type="add", state=JobState.FAILED, tenant_id=people.tenant.pk, error={"code": "x"})
    with listening(port, people, job) as listener:
        assert [listener.next()["event"], listener.next()["event"], listener.next()] == ["progress", "end", None]


def test_who_comes_back_is_not_told_the_same_again(port: int, people: People) -> None:
    job = running(people, progress=5)
    with listening(port, people, job) as listener:
        seen = listener.next()
    with listening(port, people, job, Last_Event_ID=seen["id"]) as listener:
        update(job, progress=6)
        assert listener.next()["data"]["progress"] == 6
    with listening(port, people, job, Last_Event_ID="never heard of") as listener:
        assert listener.next()["data"]["progress"] == 6


def test_a_job_that_is_deleted_meanwhile_ends_the_stream(port: int, people: People) -> None:
    job = running(people)
    with listening(port, people, job) as listener:
        listener.next()
        Job.objects.all().delete()
        end = listener.next()
        assert (end["event"], end["data"]["status"]) == ("end", 404)
        assert listener.next() is None


def test_comments_keep_the_stream_open(port: int, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "COMMENT_EVERY_S", 0.2)
    with listening(port, people, running(people)) as listener:
        listener.next()
        assert listener.answer.readline() == b": still there\n"


def test_who_may_not_see_the_job_gets_a_problem_document(port: int, people: People) -> None:
    job = running(people)
    outsider = session(people.outsider).cookies["llmadmin_session"].value
    member = session(people.member).cookies["llmadmin_session"].value
    path = f"/jobs/{job.pk}/events"
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Cookie": f"llmadmin_session={outsider}"}, 404),
        ({"Authorization": f"Bearer {make_token(people.tenant, scopes=['invoke'], user=people.owner)}"}, 403),
    ):
        listener = Listener(port, path, **headers)
        assert listener.answer.status == status
        assert listener.answer.headers["Content-Type"] == "application/problem+json"
        listener.close()
    allowed = Listener(port, path, Cookie=f"llmadmin_session={member}")
    assert allowed.next()["event"] == "progress"
    allowed.close()
    gone = Listener(port, f"/jobs/{'0' * 32}/events", Cookie=f"llmadmin_session={member}")
    assert gone.answer.status == 404
    gone.close()


def test_only_so_many_listen_at_once_and_a_place_becomes_free(port: int, people: People, settings: Any) -> None:
    settings.JOB_EVENT_LISTENERS = 1
    job = running(people)
    with listening(port, people, job) as first:
        first.next()
        with listening(port, people, job) as second:
            assert (second.answer.status, second.answer.headers["Retry-After"]) == (429, "10")

    def free() -> bool:
        with listening(port, people, job) as third:
            return third.answer.status == 200

    until(free)


def test_one_caller_leaves_places_for_the_others(port: int, people: People, settings: Any) -> None:
    settings.JOB_EVENT_LISTENERS = 8
    job = running(people)
    token = make_token(people.tenant, scopes=["read"], user=people.member)
    headers = {"Authorization": f"Bearer {token}"}
    theirs = [Listener(port, f"/jobs/{job.pk}/events", **headers) for _ in range(2)]
    try:
        assert all(listener.next() for listener in theirs)
        third = Listener(port, f"/jobs/{job.pk}/events", **headers)
        assert third.answer.status == 429
        third.close()
        with listening(port, people, job) as other:
            assert other.answer.status == 200
    finally:
        for listener in theirs:
            listener.close()


def test_many_listeners_hold_no_thread_and_cost_one_query_each_time(port: int, people: People) -> None:
    job, others = running(people), threading.active_count()
    token = make_token(people.tenant, scopes=["read"], user=people.owner)
    listeners = [Listener(port, f"/jobs/{job.pk}/events", Authorization=f"Bearer {token}") for _ in range(25)]
    try:
        for listener in listeners:
            assert listener.next()["data"]["progress"] == 0
        until(lambda: threading.active_count() <= others + 3)
        update(job, progress=50)
        for listener in listeners:
            assert listener.next()["data"]["progress"] == 50
    finally:
        for listener in listeners:
            listener.close()
    time.sleep(0.1)
