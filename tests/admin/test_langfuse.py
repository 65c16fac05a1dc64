"""A tenant's Langfuse project as staff enter it: the keys are tried on saving, and never on a page again."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tenants.models import AuditEvent, LangfuseProject, Tenant
from tenants.services import groups
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse

pytestmark = pytest.mark.usefixtures("loopback_allowed")
LIST = "/admin/tenants/langfuseproject/"


def page_of(row: LangfuseProject) -> str:
    return f"{LIST}{row.pk}/change/"


def form(server: FakeLangfuse, tenant: Tenant, **changes: Any) -> dict[str, Any]:
    return {
        "tenant": tenant.pk, "host": server.url, "public_key": PUBLIC_KEY, "secret_key": SECRET_KEY, **changes,
    }  # fmt: skip


def text_of(answer: Any) -> str:
    return html.unescape(" ".join(answer.content.decode().split()))


@pytest.fixture
def row(admin: Client, tenant: Tenant, langfuse_server: FakeLangfuse) -> LangfuseProject:
    assert admin.post(f"{LIST}add/", form(langfuse_server, tenant)).status_code == 302
    return LangfuseProject.objects.get(tenant=tenant)


def test_keys_that_work_are_saved_sealed_and_audited(row: LangfuseProject, langfuse_server: FakeLangfuse) -> None:
    assert (row.host, row.project_name, row.content) == (langfuse_server.url, langfuse_server.project, False)
    opened = row.open_secret()
    assert opened is not None
    assert opened.reveal(origin=langfuse_server.url) == f"{PUBLIC_KEY}:{SECRET_KEY}"
    assert AuditEvent.objects.filter(action="langfuse.saved", tenant_id=row.tenant_id).count() == 1


def test_keys_that_do_not_work_are_refused_on_the_form_and_nothing_is_saved(
    admin: Client, tenant: Tenant, langfuse_server: FakeLangfuse
) -> None:
    answer = admin.post(f"{LIST}add/", form(langfuse_server, tenant, secret_key="sk-lf-wrong-one"))
    assert "Langfuse does not know these keys." in text_of(answer)
    assert "sk-lf-wrong-one" not in text_of(answer)
    assert not LangfuseProject.objects.exists()


@pytest.mark.parametrize("missing", [("public_key",), ("secret_key",), ("public_key", "secret_key")])
def test_both_keys_are_asked_for(
    admin: Client, tenant: Tenant, langfuse_server: FakeLangfuse, missing: tuple[str, ...]
) -> None:
    answer = admin.post(f"{LIST}add/", form(langfuse_server, tenant, **dict.fromkeys(missing, "")))
    assert "Enter both keys" in text_of(answer)
    assert not LangfuseProject.objects.exists()


def test_no_page_shows_a_key(admin: Client, row: LangfuseProject) -> None:
    for page in (LIST, page_of(row), f"{LIST}{row.pk}/history/", f"{LIST}{row.pk}/delete/"):
        text = text_of(admin.get(page))
        assert PUBLIC_KEY not in text, page
        assert SECRET_KEY not in text, page


def test_blank_keys_stay_while_the_switch_changes(
    admin: Client, tenant: Tenant, row: LangfuseProject, langfuse_server: FakeLangfuse
) -> None:
    blank = form(langfuse_server, tenant, public_key="", secret_key="", content="on")
    assert admin.post(page_of(row), blank).status_code == 302
    row.refresh_from_db()
    assert row.content
    assert row.open_secret() is not None


def test_another_host_wants_the_keys_anew(
    admin: Client, tenant: Tenant, row: LangfuseProject, langfuse_server: FakeLangfuse
) -> None:
    moved = form(langfuse_server, tenant, host="https://langfuse.example.com", public_key="", secret_key="")
    assert "sealed for it" in text_of(admin.post(page_of(row), moved))
    row.refresh_from_db()
    assert row.host == langfuse_server.url


def test_a_project_is_deleted_through_its_service(admin: Client, row: LangfuseProject) -> None:
    assert admin.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not LangfuseProject.objects.exists()
    assert AuditEvent.objects.filter(action="langfuse.deleted").exists()


def test_support_looks_and_changes_nothing(
    member_of: Callable[[str], Client], tenant: Tenant, row: LangfuseProject, langfuse_server: FakeLangfuse
) -> None:
    support = member_of(groups.SUPPORT)
    assert row.project_name in text_of(support.get(LIST))
    assert support.post(page_of(row), form(langfuse_server, tenant, content="on")).status_code == 403
    assert support.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
