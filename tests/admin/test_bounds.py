"""Limits and budgets, as staff set and see them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.test import Client

from core.audit import SYSTEM
from providers.models import LLMFactory
from tenants.models import ApiToken, AuditEvent, Credential, Tenant, TenantLLM
from tests.people import make_tenant, make_token
from usage.models import Budget, RateLimit, UsageDaily
from usage.services import alerts, budgets, limits

LIMITS, BUDGETS = "/admin/usage/ratelimit/", "/admin/usage/budget/"


def text_of(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


@pytest.fixture
def token(tenant: Tenant) -> ApiToken:
    return ApiToken.objects.get(prefix=make_token(tenant)[:12])


def test_staff_set_a_ceiling_and_change_its_numbers(
    admin: Client, tenant: Tenant, token: ApiToken, credential: Credential
) -> None:
    TenantLLM.objects.create(
        tenant=tenant, credential=credential, factory=credential.factory, llm_name="acme-chat", model_types=["chat"]
    )
    assert re.search(r'<input[^>]*name="set_by_staff"[^>]*checked', text_of(admin, f"{LIMITS}add/"))
    data = {"tenant": tenant.pk, "token": token.pk, "model": "acme-chat@Acme", "parallel": 3, "set_by_staff": "on"}
    assert admin.post(f"{LIMITS}add/", data).status_code == 302
    row = RateLimit.objects.get()
    assert (row.token, row.model, row.parallel, row.set_by_staff) == (token, "acme-chat@Acme", 3, True)
    change = {"requests_per_minute": 60, "status": "1"}
    assert admin.post(f"{LIMITS}{row.pk}/change/", change).status_code == 302
    row.refresh_from_db()
    assert (row.requests_per_minute, row.parallel, row.model) == (60, None, "acme-chat@Acme")
    assert "0 requests" in text_of(admin, f"{LIMITS}{row.pk}/change/")
    told = AuditEvent.objects.filter(tenant_id=tenant.pk, action__startswith="limit.").order_by("id")
    assert [(event.action, event.actor) for event in told] == [("limit.created", "root"), ("limit.updated", "root")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parallel": ""}, "at least one number"),
        ({"parallel": "0"}, "0"),
        ({"model": "gpt@Nobody"}, "as name@factory"),
        ({"token": "foreign"}, "A token of the tenant"),
    ],
)
def test_what_makes_no_sense_is_said_on_the_form(
    admin: Client, tenant: Tenant, changes: dict[str, str], said: str
) -> None:
    if "token" in changes:
        other = make_tenant("Other")
        changes = {"token": ApiToken.objects.get(prefix=make_token(other)[:12]).pk}
    answer = admin.post(f"{LIMITS}add/", {"tenant": tenant.pk, "parallel": "3", **changes})
    assert answer.status_code == 200
    assert said in html.unescape(answer.content.decode())
    assert not RateLimit.objects.exists()


def test_a_second_one_of_the_same_scope_is_refused(admin: Client, tenant: Tenant) -> None:
    for path, data in ((LIMITS, {"parallel": "3"}), (BUDGETS, {"amount": "3", "period": "day", "blocks": "on"})):
        body = {"tenant": tenant.pk, "set_by_staff": "on", **data}
        assert admin.post(f"{path}add/", body).status_code == 302
        assert "already: change that one" in admin.post(f"{path}add/", body).content.decode()


def test_limits_are_switched_and_deleted(admin: Client, tenant: Tenant) -> None:
    row = limits.create(tenant=tenant, parallel=1, set_by_staff=True, actor=SYSTEM)
    assert admin.post(f"{LIMITS}{row.pk}/do/switch_off/").status_code == 302
    row.refresh_from_db()
    assert row.status == "0"
    assert admin.post(LIMITS, {"action": "enable", "_selected_action": [row.pk]}).status_code == 302
    row.refresh_from_db()
    assert row.status == "1"
    assert admin.post(f"{LIMITS}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not RateLimit.objects.exists()


def test_a_budget_is_set_changed_and_shows_how_it_stands(admin: Client, tenant: Tenant, factory: LLMFactory) -> None:
    data = {"tenant": tenant.pk, "factory": factory.pk, "period": "month", "amount": "12.5", "blocks": "on"}
    assert admin.post(f"{BUDGETS}add/", {**data, "set_by_staff": "on"}).status_code == 302
    row = Budget.objects.get()
    assert (row.amount, row.factory, row.set_by_staff, row.blocks) == (Decimal("12.5"), factory, True, True)
    alerts_of = {"alerts-TOTAL_FORMS": "0", "alerts-INITIAL_FORMS": "0"}
    change = {"amount": "10", "allow_unpriced": "on", "status": "1", **alerts_of}
    assert admin.post(f"{BUDGETS}{row.pk}/change/", change).status_code == 302
    row.refresh_from_db()
    assert (row.amount, row.blocks, row.allow_unpriced) == (10, False, True)
    UsageDaily.objects.create(
        tenant_id=tenant.pk, day=datetime.now(UTC).date(), factory="Acme", operation="chat", cost=Decimal("8.5")
    )
    alerts.record()
    page = text_of(admin, f"{BUDGETS}{row.pk}/change/")
    assert "8.50 USD spent" in page and "1.50 USD left" in page
    assert 'value="10"' in page
    assert "80" in page[page.index("alerts-group") :]
    shown = text_of(admin, BUDGETS)
    assert "85 %" in shown and "10 USD a month" in shown and "watches" in shown


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "100000001", "0.00000000001"])
def test_an_amount_that_makes_no_sense_is_refused(admin: Client, tenant: Tenant, amount: str) -> None:
    data = {"tenant": tenant.pk, "period": "day", "amount": amount, "blocks": "on"}
    assert admin.post(f"{BUDGETS}add/", data).status_code == 200
    assert not Budget.objects.exists()


def test_a_budget_is_counted_anew(admin: Client, tenant: Tenant) -> None:
    row = budgets.create(tenant=tenant, amount="1", set_by_staff=True, actor=SYSTEM)
    assert admin.post(f"{BUDGETS}{row.pk}/do/count_anew/").status_code == 302
    row.refresh_from_db()
    assert row.revision == 1
    assert admin.post(f"{BUDGETS}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Budget.objects.exists()


def test_tenant_support_and_auditors_look_and_change_nothing(
    member_of: Callable[[str], Client], tenant: Tenant
) -> None:
    limit = limits.create(tenant=tenant, parallel=1, actor=SYSTEM)
    budget = budgets.create(tenant=tenant, amount="1", actor=SYSTEM)
    for group in ("tenant support", "auditor"):
        client = member_of(group)
        for path, pk in ((LIMITS, limit.pk), (BUDGETS, budget.pk)):
            assert client.get(path).status_code == 200
            assert client.get(f"{path}{pk}/change/").status_code == 200
            assert (
                client.post(f"{path}{pk}/change/", {"amount": "9", "parallel": "9", "status": "0"}).status_code == 403
            )
            assert client.post(f"{path}{pk}/do/switch_off/").status_code == 403
            assert client.get(f"{path}add/").status_code == 403
            assert client.post(f"{path}{pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.post(f"{BUDGETS}{budget.pk}/do/count_anew/").status_code == 403
    limit.refresh_from_db()
    budget.refresh_from_db()
    assert (limit.parallel, limit.status, budget.amount, budget.revision) == (1, "1", 1, 0)
