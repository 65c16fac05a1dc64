"""Runtimes on their usual ports are offered, never enabled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from core import audit
from core.audit import Event
from runtimes.drivers import installed
from runtimes.models import LLMService
from runtimes.services import discovery, health
from runtimes.services.discovery import note_found, place, usual_urls
from tests.runtimes.fakes.llamacpp import FakeLlamaCpp
from tests.runtimes.fakes.localai import FakeLocalAI
from tests.runtimes.fakes.ollama import FakeOllama
from tests.runtimes.fakes.server import says
from tests.runtimes.making import LOOPBACK, make_service


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def see(event: Event, **_: Any) -> None:
        seen.append(event)

    audit.recorded.connect(see)
    yield seen
    audit.recorded.disconnect(see)


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOllama]:
    """An Ollama whose port is the usual one, as far as its driver's table says."""
    with FakeOllama() as running:
        monkeypatch.setattr(type(installed()["ollama"]), "default_urls", (f"http://localhost:{running.port}",))
        yield running


@pytest.mark.django_db
def test_a_runtime_on_its_usual_port_is_offered_and_not_enabled(ollama: FakeOllama, events: list[Event]) -> None:
    service = make_service(is_enabled=False, api_key_env_var="PATH")
    assert discovery.look_for_local() == [service.name]
    service.refresh_from_db()
    assert service.found_at is not None
    assert not service.is_enabled
    assert service.health == "unknown"
    assert [(one.action, one.target) for one in events] == [("service.found", service.name)]
    assert events[0].detail == {"url": f"http://127.0.0.1:{ollama.port}"}
    assert "authorization" not in ollama.requests[0].headers, "a stranger is told no key"
    assert discovery.look_for_local() == []
    assert len(events) == 1


@pytest.mark.django_db
def test_what_is_no_longer_there_is_no_longer_offered(ollama: FakeOllama, events: list[Event]) -> None:
    service = make_service(is_enabled=False)
    discovery.look_for_local()
    ollama.behave("GET", "/api/version", says(404, b"nothing here"))
    discovery.look_for_local()
    service.refresh_from_db()
    assert service.found_at is None


@pytest.mark.django_db
def test_what_is_enabled_already_is_not_offered_to_another(ollama: FakeOllama) -> None:
    make_service(f"http://localhost:{ollama.port}")
    other = make_service(is_enabled=False)
    assert discovery.look_for_local() == []
    other.refresh_from_db()
    assert other.found_at is None
    assert ollama.requests == []


@pytest.mark.django_db
def test_only_the_hosts_of_the_setting_are_looked_at(ollama: FakeOllama, settings: Any) -> None:
    make_service(is_enabled=False)
    settings.SERVICE_DISCOVERY_HOSTS = []
    assert discovery.look_for_local() == []
    settings.SERVICE_DISCOVERY_HOSTS = ["no-such-host.invalid"]
    assert discovery.look_for_local() == []
    assert ollama.requests == []


@pytest.mark.django_db
def test_an_enabled_service_is_never_marked(ollama: FakeOllama) -> None:
    service = make_service(ollama.url)
    assert not note_found(service_id=service.pk, url=ollama.url)
    assert not note_found(service_id="gone", url=ollama.url)


def test_usual_ports_are_looked_at_on_each_host() -> None:
    urls = usual_urls(installed()["ollama"], ["10.0.0.5", "::1"])
    assert urls == ["http://10.0.0.5:11434", "http://[::1]:11434"]


def test_this_machine_has_one_name() -> None:
    assert place("http://localhost:1") == place("http://127.0.0.1:1/v1") == place("http://[::1]:1")
    assert place("https://a.example") == "https://a.example:443"


def test_of_those_with_the_same_usual_port_only_the_right_one_is_found() -> None:
    by_place: dict[str, list[str]] = {}
    for driver in installed().values():
        for url in driver.default_urls if driver.is_local and not driver.in_process else ():
            by_place.setdefault(place(url), []).append(driver.type)
    shared = [sorted(types) for types in by_place.values() if len(types) > 1]
    assert shared == [["llamacpp", "localai"]], "add the fakes of the new ones here"
    for fake, right in ((FakeLlamaCpp, "llamacpp"), (FakeLocalAI, "localai")):
        with fake() as runtime:
            for type in shared[0]:
                stranger = LLMService(type=type, urls=[runtime.url], allowed_networks=LOOPBACK)
                (seen,) = asyncio.run(health.ask(stranger))
                assert (seen.presence is not None) == (type == right), f"{fake.__name__} is taken for {type}"
