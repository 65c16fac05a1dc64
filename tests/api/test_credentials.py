"""Credentials over REST: tested before they are saved, and never shown again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from jobs.models import Job
from providers.models import LLM, LLMFactory
from tenants.models import Credential, Probe, TenantLLM
from tests.api.world import World
from tests.fakes.upstream import KEY, FakeUpstream

pytest_plugins = ["tests.fakes.plugin"]

WRONG = "sk-wrong-9876543210"


@pytest.fixture
def vendor(world: World, upstream: FakeUpstream, loopback_allowed: None) -> LLMFactory:
    factory = LLMFactory.objects.create(name="Fake", base_url=upstream.url)
    for name, kind in (("fake-chat", "chat"), ("fake-embedding", "embedding")):
        LLM.objects.create(factory=factory, llm_name=name, model_types=[kind])
    return factory


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, body, content_type="application/json", headers=headers)


def create(client: Client, key: str = KEY, **extra: Any) -> Any:
    headers = extra.pop("headers", {})
    return post(client, "/api/credentials/", {"factory": "Fake", "values": {"api_key": key}, **extra}, **headers)


@pytest.mark.usefixtures("jobs_run_at_once", "vendor")
def test_a_key_that_works_is_saved_with_the_factorys_models(owner: Client) -> None:
    answer = create(owner)
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert shown["secret"] == {"set": True, "last4": KEY[-4:], "fingerprint": shown["secret"]["fingerprint"]}
    assert (shown["state"], shown["verdict"]) == ("ok", "ok")
    assert answer["Location"] == f"/api/credentials/{shown['id']}/"
    assert KEY not in answer.content.decode()
    names = owner.get(f"/api/tenant-models/?credential={shown['id']}").json()["results"]
    assert [row["name"] for row in names] == ["fake-chat@Fake", "fake-embedding@Fake"]
    probes = owner.get(f"/api/probes/?credential={shown['id']}").json()["results"]
    assert {probe["verdict"] for probe in probes} == {"ok"}


@pytest.mark.usefixtures("jobs_run_at_once", "vendor")
def test_a_key_that_fails_is_not_saved_and_the_answer_says_why(owner: Client, upstream: FakeUpstream) -> None:
    before = Credential.objects.count()
    answer = create(owner, WRONG)
    assert answer.status_code == 422, answer.content
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (problem["code"], problem["verdict"], problem["status"]) == ("bad_key", "bad_key", 422)
    assert problem["hint"]
    assert [probe["verdict"] for probe in problem["probes"]] == ["bad_key"]
    assert upstream.total_calls == 1
    assert Credential.objects.count() == before
    assert WRONG not in answer.content.decode()
    shown = owner.get(f"/api/jobs/{problem['job']}/").json()
    assert (shown["state"], shown["result"]["ok"]) == ("completed", False)


@pytest.mark.usefixtures("vendor", "db")
@pytest.mark.parametrize("wait", ["respond-async", "wait=5, respond-async", "none"])
def test_a_caller_need_not_wait(owner: Client, settings: Any, wait: str) -> None:
    settings.PROBE_WAIT = 0
    answer = create(owner, headers={"Prefer": wait})
    assert answer.status_code == 202
    job = Job.objects.get(pk=answer.json()["id"])
    assert answer["Location"] == f"/api/jobs/{job.pk}/"
    assert owner.get(answer["Location"]).json()["state"] == "pending"
    assert KEY not in str(job.params)


@pytest.mark.usefixtures("vendor", "db")
def test_a_key_can_be_saved_untested(owner: Client, upstream: FakeUpstream) -> None:
    answer = create(owner, WRONG, test=False, models=["fake-chat"])
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["verdict"]) == ("untested", "untested")
    assert upstream.total_calls == 0
    assert [row.llm_name for row in TenantLLM.objects.filter(credential=answer.json()["id"])] == ["fake-chat"]


@pytest.mark.usefixtures("jobs_run_at_once", "vendor")
def test_a_saved_key_is_tested_on_request(owner: Client, upstream: FakeUpstream) -> None:
    saved = create(owner, WRONG, test=False).json()["id"]
    answer = post(owner, f"/api/credentials/{saved}/test/", {})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["result"]["verdict"]) == ("completed", "bad_key")
    assert owner.get(f"/api/credentials/{saved}/").json()["verdict"] == "bad_key"
    changed = owner.patch(f"/api/credentials/{saved}/", {"values": {"api_key": KEY}}, content_type="application/json")
    assert changed.json()["state"] == "untested"
    pair = {"llm_name": "fake-embedding", "model_type": "embedding"}
    upstream.calls.clear()
    answer = post(owner, f"/api/credentials/{saved}/test/", {"models": [pair]})
    assert answer.json()["result"]["ok"] is True, answer.content
    assert upstream.calls["/embeddings"] == 1


@pytest.mark.usefixtures("vendor")
def test_a_blank_secret_stays_and_a_new_host_needs_it_again(owner: Client) -> None:
    saved = create(owner, test=False).json()
    path = f"/api/credentials/{saved['id']}/"
    same = owner.patch(path, {"values": {"api_key": ""}, "label": "mine"}, content_type="application/json").json()
    assert (same["secret"], same["label"]) == (saved["secret"], "mine")
    moved = owner.patch(path, {"base_url": "https://elsewhere.example/v1"}, content_type="application/json")
    assert moved.status_code == 400
    assert "base_url" in moved.json()["fields"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"factory": "Nobody"}, "factory"),
        ({"factory": "Fake"}, "api_key"),
        ({"factory": "Fake", "values": {"api_key": "x", "region": "eu"}}, "region"),
        ({"factory": "Fake", "values": {"api_key": 5}}, "api_key"),
        ({"factory": "Fake", "values": "x"}, "values"),
        ({"factory": "Fake", "values": {"api_key": "x"}, "models": ["nothing"]}, "models"),
        ({"factory": "Fake", "values": {"api_key": "x"}, "base_url": "ftp://x"}, "base_url"),
        ({"factory": "Fake", "values": {"api_key": "x"}, "tenant": "x"}, "tenant"),
        ({"factory": "Fake", "values": {"api_key": "x"}, "secret": "x"}, "secret"),
        ({"factory": "Fake", "values": {"api_key": "x" * 20_000}}, "api_key"),
        ({"factory": "Fake", "values": {"api_key": "x"}, "label": "x" * 101}, "label"),
        ({}, "factory"),
    ],
)
@pytest.mark.usefixtures("vendor")
def test_what_is_wrong_is_named_and_nothing_is_saved(owner: Client, body: dict[str, Any], field: str) -> None:
    before = Credential.objects.count(), Job.objects.count()
    answer = post(owner, "/api/credentials/", body)
    assert answer.status_code == 400
    assert field in answer.json()["fields"], answer.content
    assert (Credential.objects.count(), Job.objects.count()) == before


@pytest.mark.usefixtures("vendor")
def test_a_label_is_taken_once_per_factory(owner: Client) -> None:
    assert create(owner, test=False, label="mine").status_code == 201
    for test in (True, False):
        answer = create(owner, test=test, label="mine")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.usefixtures("db")
def test_factories_that_are_not_offered_are_not_there(owner: Client, vendor: LLMFactory, settings: Any) -> None:
    assert create(owner, test=False).status_code == 201
    settings.ALLOWED_FACTORIES = ["Vendor"]
    assert create(owner, test=False).status_code == 400
    assert owner.get("/api/models/?factory=Fake").json()["count"] == 0
    settings.ALLOWED_FACTORIES = []
    for change in ({"hidden": True}, {"status": "0", "hidden": False}):
        LLMFactory.objects.filter(pk=vendor.pk).update(**change)
        assert create(owner, test=False).status_code == 400
        assert owner.get(f"/api/factories/{vendor.pk}/").status_code == 404


@pytest.mark.usefixtures("vendor")
def test_deleting_a_key_takes_its_models_and_keeps_its_probes(owner: Client, world: World) -> None:
    assert owner.delete(f"/api/credentials/{world.credential.pk}/").status_code == 204
    assert not TenantLLM.objects.filter(pk=world.tenant_llm.pk).exists()
    assert Probe.objects.filter(pk=world.probe.pk).exists()
    assert owner.get(f"/api/probes/{world.probe.pk}/").json()["credential"] is None


@pytest.mark.usefixtures("vendor")
def test_tests_are_throttled_more_than_reads(owner: Client, world: World, settings: Any) -> None:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"caller": "1000/min", "probe": "2/min"},
    }  # fmt: skip
    path = f"/api/credentials/{world.credential.pk}/test/"
    codes = [post(owner, path, {}, Prefer="respond-async").status_code for _ in range(3)]
    assert codes == [202, 202, 429]
    answer = post(owner, path, {})
    assert answer.json()["code"] == "too_many_requests"
    assert int(answer["Retry-After"]) >= 1
    assert owner.get("/api/credentials/").status_code == 200
