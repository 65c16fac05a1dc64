"""A service's key is told to its own address, and to nothing and nobody else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps

from core.audit import SYSTEM
from jobs.models import Job
from jobs.services import requests, runner
from runtimes.models import LLMService
from runtimes.services import health, services
from tenants.services import rotation
from tests.people import People, actor_of
from tests.runtimes.fakes.ollama import FakeOllama
from tests.runtimes.fakes.server import says
from tests.runtimes.making import LOOPBACK

KEY = "Sv8Kq3xN5tR1zLw7Hd"


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(key=KEY) as running:
        yield running


@pytest.fixture
def service(ollama: FakeOllama, transactional_db: None) -> LLMService:
    given = {"name": "keyed", "type": "ollama", "urls": [ollama.url]}
    made = services.create(actor=SYSTEM, key=KEY, **given)
    services.approve_networks(service_id=made.pk, networks=LOOPBACK, actor=SYSTEM)
    return services.enable(service_id=made.pk, actor=SYSTEM)


def all_rows() -> str:
    """Everything that the database holds, as text."""
    return "\n".join(
        json.dumps(list(model._base_manager.values()), default=str)
        for model in apps.get_models()
        if model._meta.app_label in ("runtimes", "jobs", "tenants")
    )


def installed(people: People, model: str) -> Job:
    params = {"service_name": "keyed", "model_name": model}
    job = requests.submit("install", params=params, actor=actor_of(people.owner), is_staff=True).job
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def test_a_key_is_used_and_shown_nowhere(
    people: People, service: LLMService, ollama: FakeOllama, caplog: Any, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    assert health.look(service).health == "up"
    assert installed(people, "llama3.2:latest").state == "completed"
    assert all(one.headers["authorization"] == f"Bearer {KEY}" for one in ollama.requests)
    echo = json.dumps({"error": f"the key {KEY} (Bearer {KEY}) may not do this"}).encode()
    ollama.behave("POST", "/api/pull", says(400, echo))
    ollama.behave("GET", "/api/version", says(401, echo))
    assert installed(people, "vision:7b").state == "failed"
    assert health.look(service).health == "down"
    told = all_rows() + caplog.text + "".join(capfd.readouterr())
    assert KEY not in told
    assert "[redacted]" in told


def test_a_key_stays_with_a_service_that_is_pointed_elsewhere_behind_our_back(service: LLMService) -> None:
    with FakeOllama() as thief:
        LLMService.objects.filter(pk=service.pk).update(urls=[thief.url])
        service.refresh_from_db()
        assert health.look(service).health == "down"
        assert thief.requests == []


def test_keys_of_services_are_rotated_with_all_others(service: LLMService, ollama: FakeOllama, settings: Any) -> None:
    from cryptography.fernet import Fernet

    old = settings.FIELD_ENCRYPTION_KEY
    keys = [old] if isinstance(old, str | bytes) else list(old)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), *keys]
    assert rotation.survey().stale == 1
    service.refresh_from_db()
    assert health.look(service).health == "up"
