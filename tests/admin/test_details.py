"""What pages of the admin say beside their rows: links that lead somewhere, one word for one thing."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils.html import strip_tags

from jobs.models import Job
from tenants.models import Credential, Tenant
from tests.admin.conftest import fill

MemberOf = Callable[[str], Client]


def crumbs(page: str) -> list[str]:
    """What stands above a page, from the left to the right."""
    parts = re.findall(r'class="align-middle inline-block leading-5 min-w-0[^>]*>(.*?)</(?:a|span)>', page, re.DOTALL)
    return [strip_tags(part).strip() for part in parts]


@pytest.mark.parametrize("group", ["operator", "tenant support", "auditor"])
def test_a_user_is_a_link_only_for_who_may_see_users(admin: Client, member_of: MemberOf, group: str) -> None:
    fill(1)
    job, tenant, client = Job.objects.get(), Tenant.objects.get(), member_of(group)
    link, may = re.compile(r'href="/admin/auth/user/\d+/'), client.get("/admin/auth/user/").status_code == 200
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    assert job.created_by.username in page
    assert bool(link.search(page)) == may
    page = client.get(f"/admin/tenants/tenant/{tenant.pk}/change/").content.decode()
    assert (job.created_by.username in page) == (group != "operator")  # who sees no members at all
    assert bool(link.search(page)) == may
    assert link.search(admin.get(f"/admin/jobs/job/{job.pk}/change/").content.decode())


def test_a_test_of_a_key_says_whose_key_it_is(admin: Client, credential: Credential) -> None:
    Job.objects.create(type="probe", tenant_id=credential.tenant_id, params={"credential_id": credential.pk})
    Job.objects.create(type="probe", tenant_id=credential.tenant_id, params={"credential_id": "gone"})
    rows = admin.get("/admin/jobs/job/").content.decode()
    assert credential.factory.name in rows


def test_a_row_that_is_only_looked_at_has_no_button_to_a_history_that_is_empty(admin: Client) -> None:
    fill(1)
    assert "/history/" not in admin.get(f"/admin/jobs/job/{Job.objects.get().pk}/change/").content.decode()
    assert "/history/" in admin.get(f"/admin/tenants/tenant/{Tenant.objects.get().pk}/change/").content.decode()


def test_a_place_is_named_once(admin: Client) -> None:
    fill(1)
    job = Job.objects.get()
    assert crumbs(admin.get("/admin/jobs/job/").content.decode()) == ["Jobs"]
    assert crumbs(admin.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()) == ["Jobs", str(job)]
    assert crumbs(admin.get("/admin/tenants/credential/").content.decode()) == ["Tenants", "Credentials"]


def test_records_of_calls_are_called_the_same_in_the_menu_and_on_their_page(admin: Client) -> None:
    page = admin.get("/admin/usage/usagerecord/").content.decode()
    menu = re.findall(r'href="/admin/usage/usagerecord/"[^>]*>(.*?)</a>', page, re.DOTALL)
    assert {"Usage records"} <= {re.sub(r"^[a-z_]+\s+", "", strip_tags(one).strip()).strip() for one in menu}
    assert crumbs(page) == ["Usage", "Usage records"]


def test_a_budget_says_what_was_spent_in_dollars_too(admin: Client) -> None:
    fill(1)
    assert re.search(r"0 %\s*(</[^>]*>\s*)+\s*[\d.]+ USD", admin.get("/admin/usage/budget/").content.decode())


def test_a_rate_limit_says_how_models_of_services_are_written(admin: Client) -> None:
    assert "service~model" in admin.get("/admin/usage/ratelimit/add/").content.decode()
