"""Looks at services: what they find is kept; what is down is looked at more rarely; nobody waits for one that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.clock import now
from providers.errors import BadReply, TimedOut, Unreachable, UpstreamError
from runtimes.drivers.base import Presence
from runtimes.models import Health, LLMService, ServiceEvent, ServiceModel
from runtimes.services import health
from runtimes.services.health import Seen, look, look_at_due, note, pause_s
from tests.runtimes.fakes.ollama import FakeOllama
from tests.runtimes.fakes.server import hang, hang_up, says
from tests.runtimes.making import make_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as running:
        yield running


def events(service: LLMService) -> list[tuple[str, str]]:
    return [(one.before, one.after) for one in service.events.order_by("id")]


def test_a_service_that_answers_is_up_and_lists_its_models(ollama: FakeOllama) -> None:
    service = look(make_service(ollama.url))
    assert (service.health, service.version, service.failures, service.error) == ("up", "0.33.0", 0, {})
    assert service.latency_ms is not None
    assert service.up_since is not None
    assert service.checked_at is not None
    assert service.models.count() == 2
    assert events(service) == [("unknown", "up")]
    again = look(service)
    assert again.up_since == service.up_since
    assert events(service) == [("unknown", "up")]


def test_models_are_not_listed_with_every_look_nor_where_nobody_wants_it(ollama: FakeOllama) -> None:
    service = look(make_service(ollama.url))
    count = len(ollama.asked("GET", "/api/tags"))
    look(service)
    assert len(ollama.asked("GET", "/api/tags")) == count
    assert not look(make_service(ollama.url, enable_discovery=False)).models.exists()


def test_a_service_that_is_gone_is_down_and_keeps_its_models(ollama: FakeOllama) -> None:
    service = look(make_service(ollama.url))
    service.urls = ["http://127.0.0.1:1"]
    service.save()
    service = look(service)
    assert (service.health, service.failures, service.up_since) == ("down", 1, None)
    assert service.error["code"] == "unreachable"
    assert service.error["hint"]
    assert ServiceModel.objects.present().count() == 2
    event = service.events.first()
    assert event is not None
    assert (event.before, event.after) == ("up", "down")
    assert event.reason


def test_one_of_several_urls_is_enough(ollama: FakeOllama) -> None:
    service = look(make_service("http://127.0.0.1:1", ollama.url))
    assert service.health == "up"
    assert service.error["code"] == "some_urls_down"
    assert service.error["message"].startswith("1 of 2 URLs")


def test_a_list_that_does_not_come_is_told_and_forgotten_when_it_does(ollama: FakeOllama) -> None:
    ollama.behave("GET", "/api/tags", says(500, b"{}"))
    service = look(make_service(ollama.url))
    assert (service.health, service.error["about"]) == ("up", "models")
    ollama.well("GET", "/api/tags")
    service = look(service)
    assert service.error == {}
    assert service.models.count() == 2


def test_an_answer_of_something_else_is_none() -> None:
    with FakeOllama() as runtime:
        runtime.behave("GET", "/api/version", says(200, b"<html>hello</html>", "text/html"))
        service = look(make_service(runtime.url))
    assert (service.health, service.error["code"]) == ("down", "bad_reply")


def test_a_type_without_a_driver_is_down_and_says_why() -> None:
    service = look(make_service("http://127.0.0.1:1", type="forgotten"))
    assert service.health == "down"
    assert "no driver" in service.error["message"]


def test_a_busy_service_may_miss_one_look() -> None:
    service = make_service("http://127.0.0.1:1", health=Health.UP)
    slow = (Seen("u", error=TimedOut(step="headers")),)
    first = note(service_id=service.pk, seen=slow)
    assert first is not None
    assert (first.health, first.failures) == ("up", 1)
    second = note(service_id=service.pk, seen=slow)
    assert second is not None
    assert (second.health, second.failures) == ("down", 2)
    assert note(service_id="gone", seen=slow) is None


async def hang_in_the_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "99"})
    await response.prepare(request)
    await response.write(b"{")
    return await hang(request)


@pytest.mark.parametrize("where", ["connect", "headers", "body", "list"])
def test_a_service_that_hangs_delays_nothing_but_its_own_row(ollama: FakeOllama, where: str, settings: Any) -> None:
    settings.SERVICE_CHECK_INTERVAL_S = 0
    well = [make_service(ollama.url) for _ in range(5)]
    with FakeOllama() as runtime, _deaf() as deaf:
        match where:
            case "headers":
                runtime.behave("GET", "/api/version", hang)
            case "body":
                runtime.behave("GET", "/api/version", hang_in_the_body)
            case "list":
                runtime.behave("GET", "/api/tags", hang)
        ill = make_service(deaf if where == "connect" else runtime.url, short_timeout_s=3)
        seen: dict[str, float] = {}
        started = time.monotonic()
        for service, answer in health._answers([ill, *well]):
            health._note_all([(service, answer)])
            seen[service.pk] = time.monotonic() - started
    for service in well:
        service.refresh_from_db()
        assert (service.health, service.models.count()) == ("up", 2)
        assert seen[service.pk] < seen[ill.pk]
    ill.refresh_from_db()
    assert ill.error["code"] == "timed_out"
    assert ill.health == ("up" if where == "list" else "down")


class _deaf:
    """A port whose queue of connections is full: nothing that knocks is ever let in."""

    def __enter__(self) -> str:
        import socket

        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen(0)
        port = self.server.getsockname()[1]
        self.knocking = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            self.knocking.append(one)
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        for one in (*self.knocking, self.server):
            one.close()


def test_only_what_is_due_is_looked_at_and_only_once(ollama: FakeOllama) -> None:
    due = make_service(ollama.url)
    make_service(ollama.url, next_check_at=now() + timedelta(hours=1))
    make_service(ollama.url, is_enabled=False)
    assert look_at_due() == 1
    assert look_at_due() == 0
    due.refresh_from_db()
    assert due.health == "up"
    LLMService.objects.filter(pk=due.pk).update(next_check_at=now() - timedelta(seconds=1))
    assert look_at_due() == 1


def test_what_is_down_is_looked_at_ever_more_rarely(settings: Any) -> None:
    assert [pause_s(failures) for failures in range(9)] == [30, 5, 10, 20, 40, 80, 160, 300, 300]
    service = make_service("http://127.0.0.1:1")
    for failures in range(1, 5):
        seen = note(service_id=service.pk, seen=(Seen("u", error=Unreachable(step="connect")),))
        assert seen is not None
        assert seen.next_check_at is not None
        assert seen.checked_at is not None
        wait_s = (seen.next_check_at - seen.checked_at).total_seconds()
        assert pause_s(failures) * 0.79 <= wait_s <= pause_s(failures) * 1.21


def test_events_are_kept_for_a_while(settings: Any) -> None:
    service = make_service()
    old = now() - timedelta(days=settings.SERVICE_EVENT_RETENTION_DAYS + 1)
    ServiceEvent.objects.create(service=service, before="up", after="down", at=old)
    ServiceEvent.objects.create(service=service, before="down", after="up")
    assert health.prune() == 1
    assert events(service) == [("down", "up")]


looks = st.lists(
    st.sampled_from([None, Unreachable(step="connect"), TimedOut(step="headers"), BadReply(step="parse")]), max_size=8
)


@given(looks)
def test_events_tell_the_whole_story(errors: list[UpstreamError | None]) -> None:
    service = make_service()
    for error in errors:
        seen = Seen("u", Presence("1"), 3) if error is None else Seen("u", error=error)
        note(service_id=service.pk, seen=(seen,))
    service.refresh_from_db()
    told = events(service)
    assert [before for before, _ in told] == ["unknown", *(after for _, after in told)][: len(told)]
    assert service.health == (told[-1][1] if told else "unknown")
    assert all(before != after for before, after in told)
    if errors and errors[-1] is None:
        assert (service.health, service.failures) == ("up", 0)
    ServiceEvent.objects.all().delete()


def test_a_broken_connection_is_down_at_once(ollama: FakeOllama) -> None:
    service = look(make_service(ollama.url))
    ollama.behave("GET", "/api/version", hang_up)
    assert look(service).health == "down"


def test_what_no_database_takes_harms_nobody_else(ollama: FakeOllama) -> None:
    odd, well = make_service(ollama.url), make_service(ollama.url)
    seen = Seen(ollama.url, presence=Presence(version="a\ud800b"), latency_ms=1)
    health._note_all([(odd, (seen,)), (well, (Seen(ollama.url, presence=Presence("1"), latency_ms=1),))])
    assert [LLMService.objects.get(pk=one.pk).health for one in (odd, well)] == ["unknown", "up"]
