"""What each staff group may see and do in the admin."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from jobs.models import Job
from providers.models import LLMFactory
from tenants.models import Credential, Tenant
from tests.admin.conftest import KEY, fill
from tests.admin.test_pages import LISTS

MemberOf = Callable[[str], Client]
VISIBLE = {
    "curator": {"providers_llmfactory", "providers_llm"},
    "operator": {"runtimes_llmservice", "runtimes_servicemodel", "runtimes_serviceevent", "jobs_job", "tenants_tenant"},
    "tenant support": {
        "runtimes_llmservice", "runtimes_servicemodel", "runtimes_serviceevent",
        "providers_llmfactory", "providers_llm", "tenants_tenant", "tenants_credential", "tenants_tenantllm",
        "tenants_probe", "tenants_route", "tenants_apitoken", "tenants_langfuseproject", "jobs_job",
        "usage_usagerecord", "usage_usagedaily", "usage_ratelimit", "usage_budget",
    },
    "auditor": set(LISTS),
}  # fmt: skip


@pytest.mark.parametrize("group", VISIBLE)
def test_a_group_sees_its_pages_and_no_others(member_of: MemberOf, credential: Credential, group: str) -> None:
    client = member_of(group)
    assert client.get("/admin/").status_code == 200
    statuses = {name: client.get(reverse(f"admin:{name}_changelist")).status_code for name in LISTS}
    assert {name for name, status in statuses.items() if status == 200} == VISIBLE[group]
    assert set(statuses.values()) <= {200, 403}


@pytest.mark.parametrize("group", ["tenant support", "auditor"])
def test_who_looks_after_tenants_never_sees_or_enters_a_key(
    member_of: MemberOf, credential: Credential, group: str
) -> None:
    client, url = member_of(group), f"/admin/tenants/credential/{credential.pk}/change/"
    for page in (client.get("/admin/tenants/credential/"), client.get(url)):
        assert page.status_code == 200
        assert KEY not in page.content.decode() and "value_api_key" not in page.content.decode()
    assert client.post(url, {"label": "x", "value_api_key": "sk-other-123456789"}).status_code == 403
    assert client.get("/admin/tenants/credential/add/").status_code == 403
    assert client.post("/admin/tenants/apitoken/add/", {"name": "x"}).status_code == 403


def test_tenant_support_tests_and_switches(member_of: MemberOf, credential: Credential) -> None:
    client = member_of("tenant support")
    assert client.post(f"/admin/tenants/credential/{credential.pk}/do/test_now/").status_code == 302
    assert Job.objects.filter(type="probe").count() == 1
    client.post(f"/admin/tenants/credential/{credential.pk}/do/switch_off/")
    client.post(f"/admin/tenants/tenant/{credential.tenant_id}/do/switch_off/")
    credential.refresh_from_db()
    assert (credential.status, Tenant.objects.get(pk=credential.tenant_id).status) == ("0", "0")


def test_an_auditor_changes_nothing(member_of: MemberOf, credential: Credential, factory: LLMFactory) -> None:
    client = member_of("auditor")
    job = Job.objects.create(type="probe", tenant_id=credential.tenant_id)
    for url in (
        f"/admin/tenants/credential/{credential.pk}/do/test_now/",
        f"/admin/tenants/tenant/{credential.tenant_id}/do/switch_off/",
        f"/admin/jobs/job/{job.pk}/do/cancel/",
        f"/admin/providers/llmfactory/{factory.pk}/change/",
        f"/admin/providers/llmfactory/{factory.pk}/delete/",
        f"/admin/providers/llmfactory/{factory.pk}/history/{factory.history.first().history_id}/",
        "/admin/providers/llmfactory/import/",
    ):
        assert client.post(url, {"post": "yes"}).status_code == 403, url
    client.post("/admin/providers/llm/", {"action": "disable", "_selected_action": [factory.llms.first().pk]})
    assert set(factory.llms.values_list("status", flat=True)) == {"1"}


def test_a_curator_imports_and_sees_nothing_of_tenants(member_of: MemberOf, credential: Credential) -> None:
    client = member_of("curator")
    assert client.get("/admin/providers/llmfactory/import/").status_code == 200
    assert client.get("/admin/providers/llmfactory/export/").status_code == 200
    assert client.get(f"/admin/tenants/credential/{credential.pk}/change/").status_code == 403
    page = client.get("/admin/").content.decode()
    assert "Credentials that fail" not in page and "Latest jobs" not in page


def test_who_is_not_staff_is_asked_to_log_in(client: Client) -> None:
    answer = client.get("/admin/tenants/credential/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_no_link_on_a_tenant_leads_to_a_refusal(admin: Client, member_of: Callable[[str], Client]) -> None:
    fill(2)
    lists, operator = "/admin/tenants/tenant/", member_of("operator")
    pages = (lists, f"{lists}{Tenant.objects.all()[0].pk}/change/")
    foreign = re.compile(r'href="(/admin/tenants/(?:credential|tenantllm|route|apitoken|probe)/[^"]*)')
    for page in pages:
        assert foreign.findall(admin.get(page).content.decode())
        assert not foreign.findall(operator.get(page).content.decode())
