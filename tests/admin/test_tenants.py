"""Tenants, members, keys, models, tokens and jobs, as staff handle them."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from core.audit import SYSTEM
from core.secrets import SealedSecret
from jobs.models import Job, JobState
from providers.models import LLMFactory
from tenants.models import ApiToken, AuditEvent, Credential, Membership, Probe, Role, Tenant, TenantLLM
from tenants.services import credentials, tokens
from tests.admin.conftest import KEY
from tests.people import make_user


def tenant_form(tenant: Tenant, *members: tuple[Membership | None, User, str], **changes: object) -> dict[str, object]:
    data: dict[str, object] = {"name": tenant.name, "email": "", "status": "1"}
    data["memberships-TOTAL_FORMS"] = len(members)
    data["memberships-INITIAL_FORMS"] = sum(1 for member, _user, _role in members if member)
    for number, (member, user, role) in enumerate(members):
        data[f"memberships-{number}-id"] = member.pk if member else ""
        data[f"memberships-{number}-tenant"] = tenant.pk
        data[f"memberships-{number}-user"] = user.pk
        data[f"memberships-{number}-role"] = role
    return {**data, **changes}


def test_a_new_tenant_gets_its_owner(admin: Client, root: User) -> None:
    assert admin.post("/admin/tenants/tenant/add/", {"name": "Green", "owner": root.pk}).status_code == 302
    assert Membership.objects.get(tenant__name="Green").role == Role.OWNER


def test_members_come_and_go_but_the_last_owner_stays(admin: Client, tenant: Tenant, root: User) -> None:
    url, guest = f"/admin/tenants/tenant/{tenant.pk}/change/", make_user()
    owner = tenant.memberships.get()
    assert admin.post(url, tenant_form(tenant, (owner, root, "owner"), (None, guest, "member"))).status_code == 302
    assert tenant.memberships.get(user=guest).role == Role.MEMBER
    refused = admin.post(url, tenant_form(tenant, (owner, root, "member")))
    assert "cannot be without an owner" in refused.content.decode()
    assert tenant.memberships.get(user=root).role == Role.OWNER
    removed = tenant_form(tenant, (owner, root, "owner"), (tenant.memberships.get(user=guest), guest, "member"))
    assert admin.post(url, {**removed, "memberships-1-DELETE": "on"}).status_code == 302
    assert tenant.memberships.count() == 1


def test_only_the_tenants_own_models_of_the_type_can_be_its_defaults(
    admin: Client, tenant: Tenant, root: User, credential: Credential
) -> None:
    TenantLLM.objects.create(
        tenant=tenant, credential=credential, factory=credential.factory, llm_name="acme-chat", model_types=["chat"]
    )
    url, owner = f"/admin/tenants/tenant/{tenant.pk}/change/", (tenant.memberships.get(), root, "owner")
    assert admin.post(url, tenant_form(tenant, owner, llm_id="acme-chat@Acme")).status_code == 302
    tenant.refresh_from_db()
    assert tenant.llm_id == "acme-chat@Acme"
    wrong = admin.post(url, tenant_form(tenant, owner, llm_id="acme-chat@Acme", embd_id="acme-chat@Acme"))
    assert wrong.status_code == 200
    assert "Select a valid choice" in wrong.content.decode()


def test_a_deleted_tenant_is_summed_up_first_and_leaves_its_audit_log(
    admin: Client, tenant: Tenant, credential: Credential
) -> None:
    url = f"/admin/tenants/tenant/{tenant.pk}/delete/"
    assert "credentials" in admin.get(url).content.decode().lower()
    assert admin.post(url, {"post": "yes"}).status_code == 302
    assert not Tenant.objects.filter(pk=tenant.pk).exists()
    assert AuditEvent.objects.filter(action="tenant.deleted", tenant_id=tenant.pk).exists()
    assert "(deleted)" in admin.get("/admin/tenants/auditevent/").content.decode()


def add_url(tenant: Tenant, factory: LLMFactory) -> str:
    return f"/admin/tenants/credential/add/?tenant={tenant.pk}&factory={factory.pk}"


def test_the_credential_form_asks_for_the_chosen_factorys_fields(
    admin: Client, tenant: Tenant, factory: LLMFactory
) -> None:
    assert "Go on" in admin.get("/admin/tenants/credential/add/").content.decode()
    page = admin.get(add_url(tenant, factory)).content.decode()
    assert 'type="password" name="value_api_key"' in page
    assert 'name="value_region"' in page
    assert "Enable its 2 models" in page


def test_a_credential_is_saved_sealed_and_its_key_never_comes_back(
    admin: Client, tenant: Tenant, factory: LLMFactory
) -> None:
    data = {"label": "", "base_url": "", "value_api_key": KEY, "value_region": "us", "grant_models": "on"}
    answer = admin.post(add_url(tenant, factory), data, follow=True)
    credential = Credential.objects.get()
    assert (credential.label, credential.fields, credential.secret_last4) == ("default", {"region": "us"}, KEY[-4:])
    assert credential.tenant_llms.count() == 2
    opened = credential.open_secret()
    assert opened is not None and opened.reveal(origin=opened.origin) == KEY
    for page in (answer, admin.get(f"/admin/tenants/credential/{credential.pk}/history/"), admin.get("/admin/")):
        assert KEY not in page.content.decode()
    assert f"•••• {KEY[-4:]}" in answer.content.decode()


def test_a_blank_field_that_is_not_secret_is_cleared(admin: Client, tenant: Tenant, factory: LLMFactory) -> None:
    factory.credential_fields = [*factory.credential_fields, {"name": "project", "label": "Project", "secret": False}]
    factory.save()
    saved = credentials.create(
        tenant=tenant, factory=factory, values={"api_key": KEY, "project": "p1", "region": "us"}, actor=SYSTEM
    )
    form = {"label": "main", "base_url": "", "value_region": "", "value_project": ""}
    assert admin.post(f"/admin/tenants/credential/{saved.pk}/change/", form).status_code == 302
    saved.refresh_from_db()
    assert saved.fields == {"region": "eu"}
    assert saved.secret is not None


def test_a_blank_key_keeps_the_saved_one(admin: Client, credential: Credential) -> None:
    url = f"/admin/tenants/credential/{credential.pk}/change/"
    before = credential.secret_fingerprint
    assert admin.post(url, {"label": "main", "base_url": "", "value_region": "us"}).status_code == 302
    credential.refresh_from_db()
    assert (credential.label, credential.fields["region"], credential.secret_fingerprint) == ("main", "us", before)


def test_what_a_service_refuses_is_shown_on_the_form_and_echoes_no_key(
    admin: Client, tenant: Tenant, factory: LLMFactory, credential: Credential
) -> None:
    page = admin.post(add_url(tenant, factory), {"base_url": "ftp://x", "value_api_key": KEY}).content.decode()
    assert "http" in page and KEY not in page
    page = admin.post(add_url(tenant, factory), {"base_url": "", "value_api_key": ""}).content.decode()
    assert "This field is required" in page
    url = f"/admin/tenants/credential/{credential.pk}/change/"
    page = admin.post(url, {"label": "default", "base_url": "https://other.test/v1"}).content.decode()
    assert "A new host needs the key again" in page
    assert Credential.objects.count() == 1


def test_an_unreadable_key_says_so_and_breaks_no_page(admin: Client, credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk).update(secret=SealedSecret("gAAAAA" + "x" * 120))
    for url in ("/admin/tenants/credential/", f"/admin/tenants/credential/{credential.pk}/change/", "/admin/"):
        answer = admin.get(url)
        assert answer.status_code == 200
    assert "unreadable" in admin.get("/admin/tenants/credential/").content.decode()


def test_drafts_are_in_no_list(admin: Client, credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk).update(state="draft")
    assert "0 credentials" in " ".join(admin.get("/admin/tenants/credential/").content.decode().split())


def test_a_test_is_a_job_that_the_page_watches(admin: Client, credential: Credential) -> None:
    answer = admin.post(f"/admin/tenants/credential/{credential.pk}/do/test_now/")
    job = Job.objects.get(type="probe")
    assert answer["Location"] == f"/admin/tenants/credential/{credential.pk}/change/?job={job.pk}"
    Probe.objects.create(
        tenant=credential.tenant, credential=credential, factory=credential.factory, job=job,
        llm_name="acme-chat", model_type="chat", verdict="bad_key", step="status", http_status=401,
        message="<b>no</b>", hint="Check the key.",
    )  # fmt: skip
    live = admin.get(f"/admin/tenants/credential/live/?keys={job.pk},nonsense").json()["items"]
    assert set(live) == {job.pk}
    assert not live[job.pk]["finished"]
    assert "bad key" in live[job.pk]["html"] and "&lt;b&gt;no" in live[job.pk]["html"]
    page = admin.get(answer["Location"]).content.decode()
    assert f'data-live="{job.pk}"' in page and "Check the key." in page


def test_nothing_changes_on_a_get(admin: Client, credential: Credential) -> None:
    for name in ("test_now", "switch_off"):
        assert admin.get(f"/admin/tenants/credential/{credential.pk}/do/{name}/").status_code == 405
    assert admin.post(f"/admin/tenants/credential/{credential.pk}/do/delete_model/").status_code == 404
    assert not Job.objects.exists()


def test_keys_and_models_are_tested_and_switched_in_bulk(admin: Client, credential: Credential) -> None:
    row = TenantLLM.objects.create(
        tenant=credential.tenant, credential=credential, factory=credential.factory, llm_name="m", model_types=["chat"]
    )
    chosen = {"_selected_action": [credential.pk]}
    admin.post("/admin/tenants/credential/", {"action": "test_selected", **chosen})
    assert Job.objects.count() == 1
    admin.post("/admin/tenants/credential/", {"action": "disable", **chosen})
    admin.post("/admin/tenants/tenantllm/", {"action": "disable", "_selected_action": [row.pk]})
    credential.refresh_from_db()
    row.refresh_from_db()
    assert (credential.status, row.status) == ("0", "0")


def test_a_model_is_added_to_a_credential(admin: Client, credential: Credential) -> None:
    data = {"credential": credential.pk, "llm_name": "own", "model_types": ["rerank", "chat"], "primary_type": "chat"}
    answer = admin.post("/admin/tenants/tenantllm/add/", {**data, "max_tokens": 4096})
    assert answer.status_code == 302
    assert TenantLLM.objects.get().model_types == ["chat", "rerank"]
    again = admin.post("/admin/tenants/tenantllm/add/", {**data, "max_tokens": 4096})
    assert "already" in again.content.decode()


def test_a_token_is_shown_in_one_answer_and_kept_nowhere(admin: Client, tenant: Tenant) -> None:
    data = {"tenant": tenant.pk, "name": "ci", "scopes": ["read"], "expires_at_0": "", "expires_at_1": ""}
    answer = admin.post("/admin/tenants/apitoken/add/", data)
    assert answer.status_code == 200
    plain = answer.context["plain"]
    assert plain in answer.content.decode() and "no-store" in answer["Cache-Control"]
    found = tokens.authenticate(plain)
    assert found is not None
    pages = ("/admin/tenants/apitoken/", f"/admin/tenants/apitoken/{found.pk}/change/", "/admin/tenants/auditevent/")
    assert all(plain not in admin.get(url).content.decode() for url in pages)
    assert all(plain not in json.dumps(session.get_decoded()) for session in Session.objects.all())
    assert all(plain not in morsel.value for morsel in answer.cookies.values())
    admin.post(f"/admin/tenants/apitoken/{found.pk}/do/revoke/")
    assert tokens.authenticate(plain) is None
    assert ApiToken.objects.get().revoked_at is not None


def test_a_job_is_cancelled_and_retried(admin: Client) -> None:
    job = Job.objects.create(type=next(iter(settings.JOB_TYPES)), state=JobState.PENDING, progress=40)
    live = admin.get(f"/admin/jobs/job/live/?keys={job.pk}").json()["items"][job.pk]
    assert 'value="40"' in live["html"] and not live["finished"]
    admin.post(f"/admin/jobs/job/{job.pk}/do/cancel/")
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert admin.get(f"/admin/jobs/job/live/?keys={job.pk}").json()["items"][job.pk]["finished"]
    admin.post("/admin/jobs/job/", {"action": "retry_selected", "_selected_action": [job.pk]})
    job.refresh_from_db()
    assert job.state == JobState.PENDING


def test_people_are_managed_in_the_theme_and_audited(admin: Client) -> None:
    data = {
        "username": "new",
        "usable_password": "true",
        "password1": "long enough 12!",
        "password2": "long enough 12!",
    }
    assert admin.post("/admin/auth/user/add/", data).status_code == 302
    assert AuditEvent.objects.get(action="user.created").target == "new"
    assert "long enough" not in json.dumps(list(AuditEvent.objects.values("detail", "target")))


@pytest.mark.parametrize("query", ["action=token.created", "tenant=Blue", "q=x", "created_at_from_0=2026-01-01"])
def test_the_audit_log_can_be_narrowed_down(admin: Client, tenant: Tenant, query: str) -> None:
    assert admin.get(f"/admin/tenants/auditevent/?{query}").status_code == 200


def test_every_factory_of_the_catalogue_has_a_form(admin: Client, tenant: Tenant) -> None:
    for file in sorted(settings.CATALOG_DIR.glob("*.json")):
        for row in json.loads(file.read_text()):
            if row["model"] == "providers.llmfactory":
                factory = LLMFactory.objects.create(**row["fields"])
                page = admin.get(add_url(tenant, factory)).content.decode()
                for spec in factory.credential_fields:
                    assert f'name="value_{spec["name"]}' in page, factory.name


def test_an_object_is_entered_part_by_part_and_sealed_whole(admin: Client, tenant: Tenant) -> None:
    parts = [
        {"name": "url", "label": "API URL", "required": True},
        {"name": "token", "label": "Token", "secret": True},
        {"name": "mode", "choices": ["a", "b"], "default": "a"},
    ]
    spec = {"name": "api_key", "label": "Settings", "secret": True, "required": True, "json": True, "fields": parts}
    factory = LLMFactory.objects.create(name="OCR", base_url="https://ocr.test", credential_fields=[spec])
    data = {"base_url": "", "value_api_key__token": KEY, "value_api_key__mode": "b"}
    assert "This field is required" in admin.post(add_url(tenant, factory), data).content.decode()
    data["value_api_key__url"] = "https://ocr.test/v1"
    assert admin.post(add_url(tenant, factory), data).status_code == 302
    credential = Credential.objects.get()
    opened = credential.open_secret()
    assert opened is not None
    assert json.loads(opened.reveal(origin=opened.origin)) == {"url": "https://ocr.test/v1", "token": KEY, "mode": "b"}
    url = f"/admin/tenants/credential/{credential.pk}/change/"
    assert "https://ocr.test/v1" not in admin.get(url).content.decode()
    assert admin.post(url, {"label": "kept", "base_url": ""}).status_code == 302
    credential.refresh_from_db()
    again = credential.open_secret()
    assert credential.label == "kept"
    assert again is not None
    assert again.reveal(origin=again.origin) == opened.reveal(origin=opened.origin)
