"""Every page opens, for whoever may open it, at any number of rows."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin.conftest import KEY, fill

OURS = ["providers", "tenants", "jobs", "usage", "auth", "axes"]
LISTS = sorted(
    f"{model._meta.app_label}_{model._meta.model_name}"
    for model in django_admin.site._registry
    if model._meta.app_label in OURS
)


def test_every_table_of_ours_has_a_page() -> None:
    assert {
        "providers_llmfactory", "providers_llm", "tenants_tenant", "tenants_credential", "tenants_tenantllm",
        "tenants_probe", "tenants_route", "tenants_apitoken", "tenants_auditevent", "jobs_job", "auth_user",
        "auth_group", "usage_usagerecord", "usage_usagedaily", "usage_ratelimit", "usage_budget",
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


@pytest.mark.parametrize("name", ["providers_llmfactory", "providers_llm", "tenants_tenant", "tenants_credential",
                                  "tenants_tenantllm", "tenants_route", "tenants_apitoken", "usage_ratelimit",
                                  "usage_budget", "auth_user", "auth_group"])  # fmt: skip
def test_an_add_page_opens(admin: Client, name: str) -> None:
    assert admin.get(reverse(f"admin:{name}_add")).status_code == 200


def test_the_dashboard_takes_few_queries_and_shows_no_key(admin: Client) -> None:
    fill(3)
    admin.get(reverse("admin:index"))
    with CaptureQueriesContext(connection) as queries:
        answer = admin.get(reverse("admin:index"))
    assert answer.status_code == 200
    assert len(queries) <= 8
    assert KEY not in answer.content.decode()
