"""The staff groups that come with the migrations, and exactly what they may do."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

from tests.people import make_user

CURATOR = {
    "providers.add_llm",
    "providers.add_llmfactory",
    "providers.change_llm",
    "providers.change_llmfactory",
    "providers.delete_llm",
    "providers.delete_llmfactory",
    "providers.view_historicalllm",
    "providers.view_historicalllmfactory",
    "providers.view_llm",
    "providers.view_llmfactory",
}
OPERATOR = {
    "jobs.change_job",
    "jobs.view_job",
    "runtimes.add_llmservice",
    "runtimes.approve_networks",
    "runtimes.change_llmservice",
    "runtimes.delete_llmservice",
    "runtimes.operate_llmservice",
    "runtimes.view_llmservice",
    "runtimes.view_serviceevent",
    "runtimes.view_servicemodel",
    "tenants.view_tenant",
}
SUPPORT = {
    "jobs.view_job",
    "providers.view_llm",
    "providers.view_llmfactory",
    "runtimes.operate_llmservice",
    "runtimes.view_llmservice",
    "runtimes.view_serviceevent",
    "runtimes.view_servicemodel",
    "tenants.operate_credential",
    "tenants.operate_route",
    "tenants.operate_tenant",
    "tenants.operate_tenantllm",
    "tenants.view_apitoken",
    "tenants.view_credential",
    "tenants.view_langfuseproject",
    "tenants.view_membership",
    "tenants.view_probe",
    "tenants.view_route",
    "tenants.view_tenant",
    "tenants.view_tenantllm",
    "usage.view_budget",
    "usage.view_budgetalert",
    "usage.view_ratelimit",
    "usage.view_usagedaily",
    "usage.view_usagerecord",
}
AUDITOR = {
    "admin.view_logentry",
    "auth.view_group",
    "auth.view_permission",
    "auth.view_user",
    "axes.view_accessattempt",
    "axes.view_accessattemptexpiration",
    "axes.view_accessfailurelog",
    "axes.view_accesslog",
    "jobs.view_job",
    "jobs.view_jobevent",
    "jobs.view_jobrequest",
    "jobs.view_workerheartbeat",
    "providers.view_historicalllm",
    "providers.view_historicalllmfactory",
    "providers.view_llm",
    "providers.view_llmfactory",
    "runtimes.view_calldefaults",
    "runtimes.view_llmservice",
    "runtimes.view_serviceevent",
    "runtimes.view_servicemodel",
    "runtimes.view_servicetenant",
    "tenants.view_apitoken",
    "tenants.view_auditevent",
    "tenants.view_credential",
    "tenants.view_langfuseproject",
    "tenants.view_membership",
    "tenants.view_probe",
    "tenants.view_route",
    "tenants.view_tenant",
    "tenants.view_tenantllm",
    "usage.view_budget",
    "usage.view_budgetalert",
    "usage.view_ratelimit",
    "usage.view_usagedaily",
    "usage.view_usagerecord",
}

pytestmark = pytest.mark.django_db


def held(name: str) -> set[str]:
    permissions = Group.objects.get(name=name).permissions.select_related("content_type")
    return {f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("curator", CURATOR), ("operator", OPERATOR), ("tenant support", SUPPORT), ("auditor", AUDITOR)],
)
def test_a_group_holds_exactly_these_permissions(name: str, expected: set[str]) -> None:
    assert held(name) == expected


def test_there_are_no_other_groups() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == {"curator", "operator", "tenant support", "auditor"}


def test_migrating_again_changes_nothing() -> None:
    before = list(Group.objects.values_list("id", "name", "permissions").order_by("id", "permissions"))
    call_command("migrate", verbosity=0)
    assert list(Group.objects.values_list("id", "name", "permissions").order_by("id", "permissions")) == before


def test_migrating_gives_back_what_was_taken_and_takes_what_was_added() -> None:
    curator = Group.objects.get(name="curator")
    curator.permissions.remove(*Permission.objects.filter(codename="view_llm"))
    curator.permissions.add(*Permission.objects.filter(codename__in=["change_user", "add_credential"]))
    call_command("migrate", verbosity=0)
    assert held("curator") == CURATOR


def test_other_groups_are_left_alone() -> None:
    mine = Group.objects.create(name="mine")
    mine.permissions.add(*Permission.objects.filter(codename="change_credential"))
    call_command("migrate", verbosity=0)
    assert held("mine") == {"tenants.change_credential"}


def test_members_of_a_group_have_its_rights() -> None:
    user = make_user(is_staff=True)
    user.groups.add(Group.objects.get(name="tenant support"))
    user = User.objects.get(pk=user.pk)
    assert user.has_perm("tenants.view_credential")
    assert not user.has_perm("tenants.change_credential")
    assert not user.has_perm("tenants.view_auditevent")


def test_an_auditor_can_look_at_every_model_of_ours() -> None:
    ours = {"core", "jobs", "providers", "runtimes", "tenants", "usage", "gateway"}
    wanted = {
        f"{model._meta.app_label}.view_{model._meta.model_name}"
        for model in apps.get_models()
        if model._meta.app_label in ours and "view" in model._meta.default_permissions
    }
    assert wanted <= held("auditor")
