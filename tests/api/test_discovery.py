"""A factory's models over REST: listed with the tenant's key, shown as a difference, taken into use."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from jobs.models import Job
from providers.models import LLMFactory
from tenants.models import Credential, ModelListing, TenantLLM
from tenants.services import credentials
from tests.api.test_credentials import WRONG, post
from tests.api.world import World, bearer, session
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import make_token
from tests.tenants.setting import ACTOR, serve

NAMES = ["fake-chat", "fake-vision", "fake-embedding", "fake-rerank", "fake-asr", "fake-tts"]


@pytest.fixture
def saved(world: World, upstream: FakeUpstream, loopback_allowed: None) -> Credential:
    """A credential whose upstream answers."""
    factory = LLMFactory.objects.create(name="Fake", base_url=upstream.url)
    return credentials.create(tenant=world.tenant, factory=factory, values={"api_key": KEY}, actor=ACTOR)


def url(credential: Credential, what: str) -> str:
    return f"/api/credentials/{credential.pk}/{what}/"


def rows(client: Client, credential: Credential, query: str = "") -> dict[str, Any]:
    answer = client.get(url(credential, "models") + query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_before_the_first_list_there_is_none(owner: Client, saved: Credential) -> None:
    found = rows(owner, saved)
    assert (found["listed_at"], found["job"], found["count"], found["results"]) == (None, None, 0, [])


def test_asking_answers_at_once_and_twice_is_once(owner: Client, saved: Credential, upstream: FakeUpstream) -> None:
    first, second = (post(owner, url(saved, "discover"), {}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert first["Location"] == f"/api/jobs/{first.json()['id']}/"
    assert first.json()["type"] == "discover"
    assert KEY not in first.content.decode()
    assert upstream.total_calls == 0


@pytest.mark.usefixtures("jobs_run_at_once")
def test_the_list_is_a_difference_that_can_be_narrowed_and_turned(owner: Client, saved: Credential) -> None:
    serve(saved, fake_chat="chat", fake_old="chat")
    counts = {"new": 5, "present": 1, "differs": 0, "gone": 1}
    job = post(owner, url(saved, "discover"), {}).json()["id"]
    assert owner.get(f"/api/jobs/{job}/").json()["result"]["counts"] == {
        "new": 5,
        "present": 1,
        "differs": 0,
        "gone": 1,
    }
    found = rows(owner, saved)
    assert [row["llm_name"] for row in found["results"]] == [*NAMES, "fake-old"]
    assert found["job"] == job and found["listed_at"] and found["complete"] and not found["outdated"]
    assert found["counts"] == counts
    used = {"id": str(saved.tenant_llms.get(llm_name="fake-chat").pk), "model_types": ["chat"], "status": "1"}
    assert found["results"][0] == {
        "llm_name": "fake-chat", "upstream_name": "fake-chat", "state": "present", "model_types": ["chat"],
        "typed_by": "name", "max_tokens": None, "tools": None, "thinking": None, "vision": None,
        "tenant_model": used,
    }  # fmt: skip
    assert [row["llm_name"] for row in rows(owner, saved, "?state=gone")["results"]] == ["fake-old"]
    assert [row["llm_name"] for row in rows(owner, saved, "?type=image2text")["results"]] == ["fake-vision"]
    assert [row["llm_name"] for row in rows(owner, saved, "?search=RANK&state=new")["results"]] == ["fake-rerank"]
    second = rows(owner, saved, "?page_size=3&page=2")
    assert (second["count"], [row["llm_name"] for row in second["results"]]) == (7, NAMES[3:])
    assert second["counts"]["new"] == 5
    assert "page=3" in second["next"] and second["previous"]
    assert KEY not in owner.get(url(saved, "models")).content.decode()


@pytest.mark.parametrize("query", ["?state=odd", "?type=painting", f"?search={'x' * 200}"])
def test_a_filter_that_does_not_exist_is_an_error(owner: Client, saved: Credential, query: str) -> None:
    assert owner.get(url(saved, "models") + query).status_code == 400


@pytest.mark.usefixtures("jobs_run_at_once")
def test_chosen_models_are_used_once_they_work(owner: Client, saved: Credential, upstream: FakeUpstream) -> None:
    post(owner, url(saved, "discover"), {})
    body = {"models": [{"llm_name": "fake-vision"}, {"llm_name": "fake-embedding", "model_type": "embedding"}]}
    answer = post(owner, url(saved, "adopt"), body)
    assert answer.status_code == 200, answer.content
    shown = [(row["llm_name"], row["model_types"], row["credential"]) for row in answer.json()["models"]]
    assert shown == [("fake-embedding", ["embedding"], saved.pk), ("fake-vision", ["chat", "image2text"], saved.pk)]
    calls, before = upstream.total_calls, list(TenantLLM.objects.values())
    again = post(owner, url(saved, "adopt"), body)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert (upstream.total_calls, list(TenantLLM.objects.values())) == (calls, before)
    assert rows(owner, saved)["counts"]["present"] == 2


@pytest.mark.usefixtures("jobs_run_at_once")
def test_what_does_not_work_is_not_used_and_the_answer_says_why(
    owner: Client, saved: Credential, upstream: FakeUpstream
) -> None:
    post(owner, url(saved, "discover"), {})
    upstream.status("/chat/completions", 404, {"error": {"message": "gone", "code": "model_not_found"}})
    answer = post(owner, url(saved, "adopt"), {"models": [{"llm_name": "fake-chat"}]})
    assert answer.status_code == 422, answer.content
    assert answer.json()["verdict"] == "no_such_model"
    assert not saved.tenant_llms.exists()
    untested = post(owner, url(saved, "adopt"), {"models": [{"llm_name": "fake-chat"}], "test": False})
    assert (untested.status_code, len(untested.json()["models"])) == (200, 1)


def test_a_caller_need_not_wait_for_the_test(owner: Client, saved: Credential, settings: Any) -> None:
    entry = {"name": "fake-chat", "types": ["chat"], "source": "upstream"}
    ModelListing.objects.create(credential=saved, version=credentials.version_of(saved), entries=[entry])
    body = {"models": [{"llm_name": "fake-chat"}]}
    answer = post(owner, url(saved, "adopt"), body, Prefer="respond-async")
    assert answer.status_code == 202
    assert Job.objects.get(pk=answer.json()["id"]).type == "probe"


@pytest.mark.usefixtures("jobs_run_at_once")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"models": []}, 400),
        ({"models": ["fake-chat"]}, 400),
        ({"models": [{"llm_name": "fake-chat", "model_type": "painting"}]}, 400),
        ({"models": [{"llm_name": "not-listed"}]}, 400),
        ({"models": [{"llm_name": "fake-chat", "secret": "x"}]}, 400),
        ({"models": [{"llm_name": "fake-chat"}], "force": True}, 400),
        ({"models": [{"llm_name": "fake-chat", "model_type": "ocr"}]}, 400),
    ],
)
def test_what_cannot_be_adopted_is_refused_and_changes_nothing(
    owner: Client, saved: Credential, body: Any, status: int
) -> None:
    post(owner, url(saved, "discover"), {})
    answer = post(owner, url(saved, "adopt"), body)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert not saved.tenant_llms.exists()


def test_nothing_can_be_adopted_before_it_was_listed(owner: Client, saved: Credential) -> None:
    answer = post(owner, url(saved, "adopt"), {"models": [{"llm_name": "fake-chat"}]})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.usefixtures("jobs_run_at_once")
def test_a_wrong_key_is_told_by_the_job_and_shown_nowhere(world: World, owner: Client, saved: Credential) -> None:
    credentials.update(saved, values={"api_key": WRONG}, actor=ACTOR)
    job = post(owner, url(saved, "discover"), {}).json()["id"]
    answer = owner.get(f"/api/jobs/{job}/")
    assert (answer.json()["state"], answer.json()["error"]["code"]) == ("failed", "bad_key")
    assert WRONG not in answer.content.decode()


def test_a_vendor_without_a_list_is_refused_at_once(owner: Client, saved: Credential) -> None:
    LLMFactory.objects.filter(pk=saved.factory_id).update(quirks={"no_model_list": True})
    answer = post(owner, url(saved, "discover"), {})
    assert (answer.status_code, answer.json()["code"]) == (400, "no_model_list")


@pytest.mark.usefixtures("jobs_run_at_once")
def test_owner_member_and_outsider(world: World, saved: Credential) -> None:
    people = world.people
    owner, member, outsider = (session(user) for user in (people.owner, people.member, people.outsider))
    reader = bearer(make_token(world.tenant, scopes=["read"], user=people.owner))
    body = {"models": [{"llm_name": "fake-chat"}]}
    assert post(owner, url(saved, "discover"), {}).status_code == 202
    for client, writes, reads in ((member, 403, 200), (reader, 403, 200), (outsider, 404, 404), (Client(), 401, 401)):
        assert post(client, url(saved, "discover"), {}).status_code == writes
        assert post(client, url(saved, "adopt"), body).status_code == writes
        assert client.get(url(saved, "models")).status_code == reads
    assert Job.objects.filter(type="discover").count() == 1
    assert not saved.tenant_llms.exists()
    assert post(owner, url(saved, "adopt"), body).status_code == 200


def test_asking_upstreams_is_throttled(owner: Client, saved: Credential, settings: Any) -> None:
    rates = {"caller": "1000/min", "probe": "2/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    statuses = [post(owner, url(saved, "discover"), {}).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]
    assert owner.get(url(saved, "models")).status_code == 200
