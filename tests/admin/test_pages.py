"""Every page opens, for whoever may open it, at any number of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core.clock import now
from jobs.models import Job, WorkerHeartbeat
from tests.admin.conftest import KEY, fill
from tests.people import make_user

OURS = ["providers", "tenants", "runtimes", "jobs", "usage", "auth", "axes"]
LISTS = sorted(
    f"{model._meta.app_label}_{model._meta.model_name}"
    for model in django_admin.site._registry
    if model._meta.app_label in OURS
)
ADDED = [
    *("providers_llmfactory", "providers_llm", "tenants_tenant", "tenants_credential", "tenants_tenantllm"),
    *("tenants_route", "tenants_apitoken", "tenants_langfuseproject", "usage_ratelimit", "usage_budget"),
    *("auth_user", "auth_group", "runtimes_llmservice"),
]


def test_every_table_of_ours_has_a_page() -> None:
    assert {
        "providers_llmfactory", "providers_llm", "tenants_tenant", "tenants_credential", "tenants_tenantllm",
        "tenants_probe", "tenants_route", "tenants_apitoken", "tenants_auditevent", "jobs_job", "auth_user",
        "auth_group", "usage_usagerecord", "usage_usagedaily", "usage_ratelimit", "usage_budget",
        "tenants_langfuseproject", "runtimes_llmservice", "runtimes_servicemodel", "runtimes_serviceevent",
    } <= set(LISTS)  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_few(admin: Client, name: str) -> None:
    fill(3)
    url = reverse(f"admin:{name}_changelist")
    admin.get(url)
    with CaptureQueriesContext(
        connection,
    ) as few:
        assert admin.get(url).status_code == 200
    fill(9)
    with CaptureQueriesContext(connection) as many:
        answer = admin.get(url)
    assert answer.status_code == 200
    assert len(many) == len(few), "\n".join(query["sql"] for query in many)
    assert len(many) <= 14
    assert KEY not in answer.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_a_list_can_be_searched_sorted_and_filtered(admin: Client, name: str) -> None:
    fill(2)
    url = reverse(f"admin:{name}_changelist")
    assert admin.get(url, {"q": "a"}).status_code == 200
    assert admin.get(url, {"o": "1.-2"}).status_code == 200
    model = apps.get_model(*name.split("_"))
    for row in model._default_manager.all()[:1]:
        assert admin.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200


@pytest.mark.parametrize("name", ADDED)
def test_an_add_page_opens_and_all_its_fields_can_be_seen(admin: Client, name: str) -> None:
    answer = admin.get(reverse(f"admin:{name}_add"))
    assert answer.status_code == 200
    for field in re.findall(r'<input[^>]*type="(?:number|text|url|email|password)"[^>]*>', answer.content.decode()):
        assert "border" in field or "name=" not in field, "the theme leaves Django's own widgets without a border"


def test_the_dashboard_takes_few_queries_and_shows_no_key(admin: Client) -> None:
    fill(3)
    admin.get(reverse("admin:index"))
    with CaptureQueriesContext(connection) as queries:
        answer = admin.get(reverse("admin:index"))
    assert answer.status_code == 200
    assert len(queries) <= 8
    assert KEY not in answer.content.decode()


def test_the_dashboard_names_the_queues_that_nobody_serves(admin: Client) -> None:
    WorkerHeartbeat.objects.create(name="worker@here", seen_at=now(), queues=["default", "maintenance"])
    WorkerHeartbeat.objects.create(name="models@here", seen_at=now() - timedelta(seconds=90), queues=["models"])
    page = " ".join(admin.get(reverse("admin:index")).content.decode().split())
    assert "worker@here <small>default, maintenance</small>" in page
    assert "Jobs in the queue “models” wait" in page and "the queue “default”" not in page


def test_the_question_before_a_deletion_brings_no_script_of_lists(admin: Client) -> None:
    fill(1)
    tenant = apps.get_model("tenants", "tenant")._default_manager.all()[0]
    page = admin.get(reverse("admin:tenants_tenant_delete", args=[tenant.pk])).content.decode()
    assert "admin/js/cancel.js" in page and "admin/js/actions.js" not in page


def test_the_dashboard_calls_jobs_what_their_pages_call_them(admin: Client) -> None:
    Job.objects.create(type="llm_model_ops:install")
    page = admin.get(reverse("admin:index")).content.decode()
    assert ">install (llm model ops)</a>" in page and ">llm_model_ops:install<" not in page


def test_staff_without_any_right_are_told_so_on_the_dashboard(
    admin: Client, member_of: Callable[[str], Client], client_of: Callable[[User], Client]
) -> None:
    said = "no rights here yet"
    assert said in client_of(make_user("nobody", is_staff=True)).get("/admin/").content.decode()
    for client in (admin, member_of("operator")):
        assert said not in client.get("/admin/").content.decode()


def test_a_no_is_not_marked_as_if_it_were_wrong(admin: Client) -> None:
    page = admin.get(reverse("admin:auth_user_changelist")).content.decode()
    assert "lla-yes" in page and "close_small" not in page
