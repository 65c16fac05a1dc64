"""Jobs that do something to models: who may ask, what is refused at once, what runtimes are told, what is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound
from jobs.models import Job
from jobs.services import queue, requests, runner
from runtimes.models import LLMService, ServiceModel
from runtimes.services import listing
from runtimes.services.operation_requests import prepare
from tests.people import People, actor_of
from tests.runtimes.fakes.ollama import FakeOllama, chat
from tests.runtimes.fakes.server import hang, hang_up, says
from tests.runtimes.making import make_model, make_service

GROUP = "llm_model_ops"


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as running:
        yield running


@pytest.fixture
def mock(settings: Any, tmp_path: Path) -> LLMService:
    """The service that pretends, fresh."""
    settings.DATA_DIR = tmp_path
    fast = {"install_step_delay_s": 0.02, "load_step_delay_s": 0.02}
    service = make_service(name="mock", type="mock", options={**fast, "managers_may": ["install"]})
    listing.refresh(service)
    return service


def ask(people: People, type: str, *, is_staff: bool = True, role: str = "owner", **params: Any) -> Job:
    submitted = requests.submit(
        f"{GROUP}:{type}",
        params=params,
        actor=actor_of(people.owner),
        tenant_id=people.tenant.pk,
        role=role,
        is_staff=is_staff,
    )
    return submitted.job


def done(job: Job) -> Job:
    """The job when it has run, here and now."""
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def in_thread(job: Job) -> threading.Thread:
    from django.db import connection

    def work() -> None:
        try:
            runner.run(job.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# --- Asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_only_those_who_see_a_service_may_ask(people: People) -> None:
    service = make_service("http://127.0.0.1:1", audience="some")
    service.tenants.create(tenant_id=people.tenant.pk)
    params = {"service_name": service.name, "model_name": "tiny"}
    actor = actor_of(people.owner)
    assert prepare("install", params, actor=actor, tenant_id=people.tenant.pk, is_staff=False)
    with pytest.raises(NotFound):
        prepare("install", params, actor=actor, tenant_id=people.elsewhere.pk, is_staff=False)
    with pytest.raises(Forbidden):
        ask(people, "install", role="member", is_staff=False, **params)
    assert ask(people, "install", role="owner", is_staff=False, **params).params["service_name"] == service.name


@pytest.mark.django_db
def test_what_others_use_too_is_staffs_to_change(people: People) -> None:
    service = make_service("http://127.0.0.1:1", options={"managers_may": ["install"]})
    make_model(service, "tiny")
    full = f"{service.name}~tiny"
    assert ask(people, "load", is_staff=False, model_name=full)
    assert ask(people, "install", is_staff=False, model_name=full, options={"insecure": True})
    with pytest.raises(Forbidden):
        ask(people, "load", is_staff=False, model_name=full, options={"keep_alive": -1})
    with pytest.raises(Forbidden) as error:
        ask(people, "delete", is_staff=False, model_name=full)
    assert error.value.code == "staff_only"
    assert ask(people, "delete", is_staff=True, model_name=full)


@pytest.mark.django_db
def test_a_model_is_named_in_several_ways(people: People) -> None:
    service = make_service("http://127.0.0.1:1", name="here", is_default=True)
    make_model(service, "tiny:latest")
    for given in (
        {"service_name": "here", "model_name": "tiny"},
        {"model_name": "here~tiny:latest"},
        {"service_name": "here", "model_name": "here~tiny"},
        {"model_name": "tiny"},
    ):
        assert ask(people, "unload", **given).params == {"service_name": "here", "model_name": "tiny:latest"}
    assert Job.objects.count() == 1, "they all joined the first"


@pytest.mark.django_db
def test_what_makes_no_sense_is_refused_before_there_is_a_job(people: People) -> None:
    service = make_service("http://127.0.0.1:1", name="here")
    off = make_service("http://127.0.0.1:1", is_enabled=False)
    cloud = make_service("https://api.openai.example", type="openai")
    for error, code, verb, name in (
        (NotFound, "service_not_found", "install", "nowhere~tiny"),
        (NotFound, "model_not_found", "load", "here~unknown"),
        (Conflict, "service_not_enabled", "install", f"{off.name}~tiny"),
        (InvalidInput, "not_supported", "install", f"{cloud.name}~tiny"),
        (InvalidInput, "invalid_input", "install", "tiny"),
        (InvalidInput, "invalid_input", "install", f"{service.name}~"),
    ):
        with pytest.raises(AppError) as caught:
            ask(people, verb, model_name=name)
        assert (type(caught.value), caught.value.code) == (error, code)
    assert not Job.objects.exists()


# --- Doing ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_every_verb_does_what_it_says(people: People, mock: LLMService) -> None:
    def state(name: str) -> str | None:
        return ServiceModel.objects.filter(service=mock, name=name).values_list("state", flat=True).first()

    job = done(ask(people, "install", model_name="mock~new-1B"))
    assert (job.state, job.error) == ("completed", {}), job.error
    assert job.result == {"service": "mock", "model": "new-1B", "urls": 1, "already": False}
    assert state("new-1B") == "not loaded"
    for verb, after in (("load", "loaded"), ("unload", "not loaded"), ("update", "not loaded"), ("delete", "removed")):
        assert done(ask(people, verb, model_name="mock~new-1B")).state == "completed"
        assert state("new-1B") == after
    assert done(ask(people, "import", model_name="mock~own", path="/models/own.gguf")).state == "completed"
    assert state("own") == "not loaded"
    assert done(ask(people, "load", model_name="mock~mock-model-0.5B")).result["already"] is True
    assert done(ask(people, "refresh", service_name="mock")).result["models"] == (
        ServiceModel.objects.present().count()
    )


@pytest.mark.django_db(transaction=True)
def test_progress_is_told_in_bytes(people: People, mock: LLMService) -> None:
    job = ask(people, "install", model_name="mock~big-1B", options={"install_step_delay_s": 0.1})
    thread = in_thread(job)
    seen = []
    end = time.monotonic() + 30
    while thread.is_alive() and time.monotonic() < end:
        job.refresh_from_db()
        if "total_bytes" in job.progress_detail:
            seen.append((job.progress, job.progress_detail["done_bytes"], job.progress_detail["total_bytes"]))
        time.sleep(0.02)
    thread.join()
    assert any(0 < progress < 100 and 0 < part < whole for progress, part, whole in seen)


@pytest.mark.django_db(transaction=True)
def test_cancelling_calls_the_runtime_off(people: People, ollama: FakeOllama) -> None:
    service = make_service(ollama.url)
    ollama.pause_s = 0.2
    job = ask(people, "install", model_name=f"{service.name}~llama3.2:latest")
    thread = in_thread(job)
    ollama.wait_for("POST", "/api/pull")
    time.sleep(0.3)
    queue.cancel(Job.objects.get(pk=job.pk), actor=actor_of(people.owner))
    ollama.wait_for("POST", "/api/pull", closed=True, within_s=10)
    thread.join(20)
    job.refresh_from_db()
    assert job.state == "cancelled"


@pytest.mark.django_db(transaction=True)
def test_a_download_can_be_suspended_and_goes_on_where_it_was(people: People, mock: LLMService) -> None:
    actor = actor_of(people.owner)
    job = ask(people, "install", model_name="mock~later-1B", options={"install_step_delay_s": 0.3})
    thread = in_thread(job)
    end = time.monotonic() + 30
    while not Job.objects.get(pk=job.pk).progress_detail.get("done_bytes"):
        assert time.monotonic() < end
        time.sleep(0.05)
    queue.suspend(Job.objects.get(pk=job.pk), actor=actor)
    thread.join(20)
    job.refresh_from_db()
    assert job.state == "suspended"
    assert not mock.models.filter(name="later-1B", state="not loaded").exists()
    queue.resume(job, actor=actor)
    assert done(job).state == "completed"
    assert mock.models.filter(name="later-1B", state="not loaded").exists()


@pytest.mark.django_db(transaction=True)
def test_several_urls_are_done_one_after_the_other_and_not_twice(people: People, ollama: FakeOllama) -> None:
    with FakeOllama() as second:
        second.behave("POST", "/api/pull", hang_up)
        service = make_service(ollama.url, second.url)
        job = done(ask(people, "install", model_name=f"{service.name}~llama3.2:latest"))
        assert job.state == "pending", "it is tried again"
        assert job.checkpoint["done"] == [ollama.url]
        second.well("POST", "/api/pull")
        Job.objects.filter(pk=job.pk).update(run_after=job.created_at)
        assert done(job).state == "completed"
        assert len(ollama.asked("POST", "/api/pull")) == 1
        assert len(second.asked("POST", "/api/pull")) == 2


@pytest.mark.django_db(transaction=True)
def test_what_the_runtime_refuses_fails_with_its_words(people: People, ollama: FakeOllama) -> None:
    service = make_service(ollama.url)
    job = done(ask(people, "install", model_name=f"{service.name}~nobody-has-this"))
    assert job.state == "failed"
    assert job.error["hint"]
    make_model(service, "gone:1b")
    job = done(ask(people, "load", model_name=f"{service.name}~gone:1b"))
    assert (job.state, job.error["code"]) == ("failed", "model_not_found")


@pytest.mark.django_db(transaction=True)
def test_a_tenants_job_names_no_folder_of_the_runtime_and_the_installations_does(
    people: People, ollama: FakeOllama
) -> None:
    service = make_service(ollama.url)
    said = f"open /root/.ollama/models: no space left on device, asked {ollama.url}"
    ollama.behave("POST", "/api/pull", says(500, json.dumps({"error": said}).encode()))
    job = ask(people, "install", model_name=f"{service.name}~tiny")
    told = str(done(job).error)
    assert "The disk of the runtime is full" in told and "Free some space" in told
    assert "open [path]: no space left on device, asked [address]" in told
    Job.objects.filter(pk=job.pk).update(state="pending", tenant_id="")
    assert said in str(done(job).error)


@pytest.mark.django_db(transaction=True)
def test_a_deletion_that_was_done_before_the_worker_died_is_done(people: People, ollama: FakeOllama) -> None:
    service = make_service(ollama.url)
    make_model(service, "gone:1b")
    job = ask(people, "delete", model_name=f"{service.name}~gone:1b")
    Job.objects.filter(pk=job.pk).update(attempts=1)
    assert done(job).state == "completed"


@pytest.mark.django_db(transaction=True)
def test_a_runtime_that_is_away_is_tried_again(people: People) -> None:
    service = make_service("http://127.0.0.1:1")
    job = done(ask(people, "install", model_name=f"{service.name}~tiny"))
    assert job.state == "pending"
    assert "Trying again" in job.message


@pytest.mark.django_db(transaction=True)
def test_a_list_that_does_not_come_afterwards_fails_nothing(people: People, ollama: FakeOllama) -> None:
    service = make_service(ollama.url, short_timeout_s=1)
    ollama.models = [chat("tiny:latest")]
    ollama.behave("GET", "/api/tags", hang)
    job = done(ask(people, "install", model_name=f"{service.name}~llama3.2:latest"))
    assert job.state == "completed"
    service.refresh_from_db()
    assert (service.listed_at, service.next_check_at) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_testing_a_service_is_a_job_of_staff(people: People, ollama: FakeOllama) -> None:
    service = make_service(ollama.url, is_enabled=False)
    actor, params = actor_of(people.owner), {"service_name": service.name}
    with pytest.raises(Forbidden):
        requests.submit("service_check", params=params, actor=actor, tenant_id=people.tenant.pk, role="owner")
    job = requests.submit("service_check", params=params, actor=actor, is_staff=True).job
    assert done(job).result["health"] == "up"
    service.refresh_from_db()
    assert (service.health, service.is_enabled) == ("up", False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"audience": "none"}, {"is_enabled": False}, {"name": "elsewhere"}])
@pytest.mark.parametrize("type", ["install", "refresh"])
def test_a_job_does_nothing_to_a_service_that_its_tenant_may_not_see_any_more(
    people: People, ollama: FakeOllama, type: str, change: dict[str, Any]
) -> None:
    service = make_service(ollama.url, name="shared", options={"managers_may": ["install"]})
    named = {"model_name": "tiny"} if type == "install" else {}
    job = ask(people, type, is_staff=False, service_name="shared", **named)
    LLMService.objects.filter(pk=service.pk).update(**change)
    if "name" in change:
        make_service(ollama.url, name="shared", audience="none")
    assert (done(job).state, job.error["code"]) == ("failed", "service_not_found")
    assert ollama.requests == []
