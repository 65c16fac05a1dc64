"""What an upstream offers, on the pages of a credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from core.audit import SYSTEM
from jobs.models import Job
from tenants.models import AuditEvent, Credential, ModelListing, Tenant
from tenants.services import credentials
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import make_user
from tests.tenants.setting import make_factory, serve

MemberOf = Callable[[str], Client]


@pytest.fixture
def credential(tenant: Tenant, upstream: FakeUpstream, loopback_allowed: None) -> Credential:
    """Its upstream answers."""
    return credentials.create(
        tenant=tenant, factory=make_factory(base_url=upstream.url), values={"api_key": KEY}, actor=SYSTEM
    )


def page_of(credential: Credential) -> str:
    return f"/admin/tenants/credential/{credential.pk}/models/"


def list_now(client: Client, credential: Credential) -> Any:
    return client.post(f"/admin/tenants/credential/{credential.pk}/do/list_models/", follow=True)


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def rows(answer: Any) -> dict[str, list[str]]:
    """The models of each section that the page shows."""
    sections = answer.context["sections"]
    return {section["state"]: [item["row"].llm_name for item in section["rows"]] for section in sections}


@pytest.mark.usefixtures("jobs_run_at_once")
def test_a_button_lists_the_models_and_a_page_shows_the_difference(admin: Client, credential: Credential) -> None:
    serve(credential, fake_chat="chat", fake_old="chat")
    change = text(admin.get(f"/admin/tenants/credential/{credential.pk}/change/"))
    assert "List models" in change and page_of(credential) in change
    assert "have not been listed yet" in text(admin.get(page_of(credential)))
    answer = list_now(admin, credential)
    assert answer.redirect_chain[0][0] == f"{page_of(credential)}?job={Job.objects.get(type='discover').pk}"
    assert rows(answer) == {
        "new": ["fake-vision", "fake-embedding", "fake-rerank", "fake-asr", "fake-tts"],
        "gone": ["fake-old"], "present": ["fake-chat"],
    }  # fmt: skip
    page = text(answer)
    assert "6 models are listed" in page and "by its name" in page
    assert KEY not in page


@pytest.mark.usefixtures("jobs_run_at_once")
def test_the_list_can_be_narrowed(admin: Client, credential: Credential) -> None:
    list_now(admin, credential)
    assert rows(admin.get(page_of(credential), {"q": "RERANK"})) == {"new": ["fake-rerank"]}
    assert rows(admin.get(page_of(credential), {"type": "image2text"})) == {"new": ["fake-vision"]}
    assert "There is no such model" in text(admin.get(page_of(credential), {"q": "nothing"}))
    assert len(rows(admin.get(page_of(credential), {"type": "painting"}))["new"]) == 6


@pytest.mark.usefixtures("jobs_run_at_once")
def test_chosen_models_are_added_tested_or_not(admin: Client, credential: Credential, upstream: FakeUpstream) -> None:
    list_now(admin, credential)
    tested = admin.post(page_of(credential), {"model": ["fake-vision", "fake-tts"], "test": "on"}, follow=True)
    assert "are used now" in text(tested)
    calls = upstream.total_calls
    untested = admin.post(page_of(credential), {"model": ["fake-rerank"]}, follow=True)
    assert "untested" in text(untested)
    assert upstream.total_calls == calls
    used = credential.tenant_llms.order_by("llm_name").values_list("llm_name", flat=True)
    assert list(used) == ["fake-rerank", "fake-tts", "fake-vision"]
    assert AuditEvent.objects.filter(action="credential.updated", user__username="root").count() == 2
    assert "Nothing was chosen" in text(admin.post(page_of(credential), {"test": "on"}, follow=True))


@pytest.mark.usefixtures("jobs_run_at_once")
def test_what_does_not_work_is_said_and_not_added(
    admin: Client, credential: Credential, upstream: FakeUpstream
) -> None:
    list_now(admin, credential)
    upstream.status("/chat/completions", 404, {"error": {"message": "gone", "code": "model_not_found"}})
    page = text(admin.post(page_of(credential), {"model": ["fake-chat"], "test": "on"}, follow=True))
    assert "Nothing was added" in page and "no such model" in page
    upstream.html("/models")
    assert "Welcome to nginx" in text(list_now(admin, credential))
    assert not credential.tenant_llms.exists()


@pytest.mark.usefixtures("jobs_run_at_once")
def test_a_refusal_is_shown_on_the_page(admin: Client, credential: Credential) -> None:
    list_now(admin, credential)
    assert "not in the list" in text(admin.post(page_of(credential), {"model": ["invented"]}, follow=True))
    credentials.update(credential, values={"api_key": "sk-another-0123456789"}, actor=SYSTEM)
    page = text(admin.get(page_of(credential)))
    assert "was changed since" in page and "Use the chosen models" not in page
    assert "changed since" in text(admin.post(page_of(credential), {"model": ["fake-chat"]}, follow=True))


def test_a_running_job_is_watched_and_a_foreign_one_is_not(
    admin: Client, credential: Credential, upstream: FakeUpstream
) -> None:
    page = list_now(admin, credential)
    job = Job.objects.get(type="discover")
    assert f'data-live="{job.pk}"' in text(page) and "data-live-reload" in text(page)
    foreign = Job.objects.create(type="discover", tenant_id="0" * 32)
    live = f"{page_of(credential)}live/?keys={job.pk},{foreign.pk}"
    items = admin.get(live).json()["items"]
    assert list(items) == [job.pk] and not items[job.pk]["finished"]
    assert foreign.pk not in text(admin.get(f"{page_of(credential)}?job={foreign.pk}"))
    assert upstream.total_calls == 0


@pytest.mark.usefixtures("jobs_run_at_once")
def test_a_factory_without_a_list_offers_no_button(admin: Client, credential: Credential) -> None:
    credential.factory.quirks = {"no_model_list": True}
    credential.factory.save()
    assert "list_models" not in text(admin.get(f"/admin/tenants/credential/{credential.pk}/change/"))
    assert "no list of models" in text(list_now(admin, credential))
    assert not Job.objects.exists()


@pytest.mark.usefixtures("jobs_run_at_once")
def test_who_may_look_list_and_add(
    member_of: MemberOf, client_of: Callable[[Any], Client], credential: Credential
) -> None:
    support, auditor, curator = (member_of(group) for group in ("tenant support", "auditor", "curator"))
    assert "List models" in text(support.get(page_of(credential)))
    assert "fake-chat" in text(list_now(support, credential))
    for client in (support, auditor):
        page = text(client.get(page_of(credential)))
        assert "fake-chat" in page and "Use the chosen models" not in page
        assert client.post(page_of(credential), {"model": ["fake-chat"]}).status_code == 403
    assert "travel_explore" not in text(auditor.get(page_of(credential)))
    assert auditor.post(f"/admin/tenants/credential/{credential.pk}/do/list_models/").status_code == 403
    assert curator.get(page_of(credential)).status_code == 403
    assert curator.get(f"{page_of(credential)}live/").status_code == 403
    assert Client().get(page_of(credential)).status_code == 302
    assert support.get(page_of(credential).replace(credential.pk, "0" * 32)).status_code == 404
    assert not credential.tenant_llms.exists()
    adder = make_user("adder", is_staff=True)
    codes = ("view_credential", "add_tenantllm")
    adder.user_permissions.set(Permission.objects.filter(codename__in=codes))
    assert client_of(adder).post(page_of(credential), {"model": ["fake-chat"]}).status_code == 302
    assert credential.tenant_llms.get().llm_name == "fake-chat"


def test_a_long_list_is_shown_in_part_in_few_queries(
    admin: Client, credential: Credential, django_assert_max_num_queries: Any
) -> None:
    entries = [{"name": f"model-{number:04}", "types": ["chat"], "source": "upstream"} for number in range(1200)]
    version = credentials.version_of(credential)
    ModelListing.objects.create(credential=credential, version=version, entries=entries)
    admin.get(page_of(credential))
    with django_assert_max_num_queries(14):
        answer = admin.get(page_of(credential))
    assert len(rows(answer)["new"]) == 500
    assert "700 more" in text(answer)
    assert rows(admin.get(page_of(credential), {"q": "model-1199"})) == {"new": ["model-1199"]}
