"""Lists stay cheap when there are many rows."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.admin_parts import COUNT_CAP
from core.audit import SYSTEM
from providers.models import LLMFactory
from tenants.models import AuditEvent, Credential, Tenant, TenantLLM
from tenants.services import credentials
from tests.admin.conftest import KEY

TENANTS, MODELS_EACH = 1_000, 20


def queries_of(admin: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert admin.get(url).status_code == 200
    return [query["sql"] for query in queries]


def test_lists_of_many_tenants_and_models_take_few_queries(admin: Client, factory: LLMFactory) -> None:
    tenants = Tenant.objects.bulk_create(Tenant(name=f"Tenant {number:04}") for number in range(TENANTS))
    one = credentials.create(tenant=tenants[0], factory=factory, values={"api_key": KEY}, actor=SYSTEM)
    rows = [Credential(tenant=tenant, factory=factory, secret=one.secret) for tenant in tenants[1:]]
    keys = [one, *Credential.objects.bulk_create(rows)]
    TenantLLM.objects.bulk_create(
        TenantLLM(
            tenant_id=key.tenant_id, credential=key, factory=factory, llm_name=f"m-{number}", model_types=["chat"]
        )
        for key in keys
        for number in range(MODELS_EACH)
    )
    admin.get("/admin/")
    for url, most in (
        ("/admin/tenants/tenant/", 9),
        ("/admin/tenants/tenant/?q=Tenant", 9),
        (f"/admin/tenants/tenant/{tenants[5].pk}/change/", 9),
        (f"/admin/tenants/tenant/{tenants[5].pk}/delete/", 10),
        ("/admin/tenants/credential/", 6),
        ("/admin/tenants/tenantllm/", 5),
        ("/admin/tenants/tenantllm/?q=m-3", 5),
        ("/admin/tenants/tenantllm/?q=there-is-none", 4),
        ("/admin/autocomplete/?app_label=tenants&model_name=tenantllm&field_name=credential&term=Tenant", 5),
        ("/admin/", 9),
    ):
        made = queries_of(admin, url)
        assert len(made) <= most, (url, made)


def test_counting_stops_where_nobody_turns_pages_any_more(admin: Client) -> None:
    AuditEvent.objects.bulk_create(AuditEvent(action="test.done", actor="system") for _ in range(COUNT_CAP + 5))
    page = " ".join(admin.get("/admin/tenants/auditevent/").content.decode().split())
    assert f"more than {COUNT_CAP} audit events (search or filter" in page
    few = " ".join(admin.get("/admin/tenants/auditevent/?action=nothing").content.decode().split())
    assert "more than" not in few


def test_an_action_never_reaches_beyond_the_rows_that_were_ticked(admin: Client) -> None:
    first, second = Tenant.objects.bulk_create([Tenant(name="A"), Tenant(name="B")])
    admin.post("/admin/tenants/tenant/", {"action": "disable", "_selected_action": [first.pk], "select_across": "1"})
    assert dict(Tenant.objects.values_list("name", "status")) == {"A": "0", "B": "1"}
    assert second.pk


def test_one_module_knows_the_theme() -> None:
    root = Path(settings.BASE_DIR)
    folders = ("core", "jobs", "providers", "tenants", "runtimes", "usage", "gateway", "llmadmin")
    importing = {
        str(path.relative_to(root))
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(?:from|import) unfold\b", path.read_text(), re.M)
    }
    assert importing == {"core/admin.py"}


def test_our_pages_bring_no_inline_script_or_handler() -> None:
    for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html"):
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=", path.read_text()), path
