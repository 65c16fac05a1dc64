"""Limits: who sets them, and which of them bound a call."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core.audit import SYSTEM
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from providers.models import LLMFactory
from tenants.models import ApiToken, AuditEvent, RoutingChange, Tenant, TenantLLM
from tenants.services import credentials, tokens
from tests.people import People, actor_of, make_token
from usage.admission import MAX_AMOUNT, Limit
from usage.models import RateLimit
from usage.services import budgets, limits

pytestmark = pytest.mark.django_db


def make_model(tenant: Tenant, name: str = "gpt", factory: str = "Vendor") -> TenantLLM:
    row, _ = LLMFactory.objects.get_or_create(name=factory, defaults={"base_url": "https://vendor.example/v1"})
    credential = credentials.create(
        tenant=tenant, factory=row, values={"api_key": "sk-0123456789"}, label=f"key of {name}", actor=SYSTEM
    )
    return TenantLLM.objects.create(
        tenant=tenant, credential=credential, factory=row, llm_name=name, model_types=["chat"]
    )


def token_of(tenant: Tenant, **options: Any) -> ApiToken:
    return ApiToken.objects.get(prefix=make_token(tenant, **options)[:12])


def applying(tenant: Tenant, token: str = "", model: str = "gpt@Vendor") -> set[tuple[str, str, int]]:
    found, _ = limits.applying(limits.lines_for(tenant.pk), token, model, model.partition("@")[2])
    assert len({limit.key for limit in found}) == len(found)
    assert all(limit.key.startswith(f"{{{tenant.pk}}}:") for limit in found)
    return {(limit.scope, limit.kind, limit.amount) for limit in found}


def test_a_call_is_bound_by_all_that_apply_to_it(people: People) -> None:
    tenant, owner = people.tenant, actor_of(people.owner)
    make_model(tenant)
    make_model(tenant, "other")
    token, another = token_of(tenant), token_of(tenant)
    limits.create(tenant=tenant, requests_per_minute=100, parallel=9, actor=owner)
    limits.create(tenant=tenant, token=token, tokens_per_minute=500, actor=owner)
    limits.create(tenant=tenant, model="gpt@Vendor", requests_per_minute=50, actor=owner)
    limits.create(tenant=tenant, token=token, model="gpt@Vendor", parallel=1, actor=owner)
    limits.create(tenant=people.elsewhere, requests_per_minute=1, actor=actor_of(people.outsider))
    of_tenant = {("this tenant", "requests", 100), ("this tenant", "parallel", 9)}
    of_model = {("the model gpt@Vendor", "requests", 50)}
    of_token = {("this token", "tokens", 500)}
    of_both = {("this token and the model gpt@Vendor", "parallel", 1)}
    assert applying(tenant, token.pk) == of_tenant | of_model | of_token | of_both
    assert applying(tenant, token.pk, "other@Vendor") == of_tenant | of_token
    assert applying(tenant, another.pk) == of_tenant | of_model
    assert applying(tenant) == of_tenant | of_model


def test_the_lower_of_two_limits_of_one_kind_is_kept_and_keeps_its_count(people: People) -> None:
    tenant, owner = people.tenant, actor_of(people.owner)
    own = limits.create(tenant=tenant, requests_per_minute=10, parallel=5, actor=owner)
    [before] = [limit for limit in applying(tenant) if limit[1] == "requests"]
    ceiling = limits.create(tenant=tenant, requests_per_minute=7, parallel=50, set_by_staff=True, actor=SYSTEM)
    assert applying(tenant) == {("this tenant", "requests", 7), ("this tenant", "parallel", 5)}
    assert before == ("this tenant", "requests", 10)
    assert limits.keys_of(own) == limits.keys_of(ceiling)


def test_what_is_disabled_or_of_a_revoked_token_bounds_nothing(people: People) -> None:
    tenant, owner = people.tenant, actor_of(people.owner)
    token = token_of(tenant)
    limits.create(tenant=tenant, token=token, parallel=1, actor=owner)
    row = limits.create(tenant=tenant, parallel=2, actor=owner)
    limits.update(row, status="0", actor=owner)
    tokens.revoke(token, actor=owner)
    assert applying(tenant, token.pk) == set()


def test_a_token_made_with_another_is_bound_by_that_ones_limits_and_budgets(people: People) -> None:
    tenant, owner = people.tenant, actor_of(people.owner)
    parent, child, grandchild = token_of(tenant), token_of(tenant), token_of(tenant)
    ApiToken.objects.filter(pk=child.pk).update(parent=parent)
    ApiToken.objects.filter(pk=grandchild.pk).update(parent=child)
    limits.create(tenant=tenant, token=parent, parallel=3, actor=owner)
    budgets.create(tenant=tenant, token=parent, amount="5", actor=owner)
    lines = limits.lines_for(tenant.pk)
    assert limits.applying(lines, parent.pk, "gpt@Vendor", "Vendor") == limits.applying(
        lines, grandchild.pk, "gpt@Vendor", "Vendor"
    )
    found, money = limits.applying(lines, grandchild.pk, "gpt@Vendor", "Vendor")
    assert [type(limit) for limit in found] == [Limit]
    assert [line.scope for line in money] == ["this token"]


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1, 1.5, "7", True])
def test_senseless_amounts_are_refused(people: People, amount: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        limits.create(tenant=people.tenant, requests_per_minute=amount, actor=SYSTEM)
    assert list(refused.value.fields) == ["requests_per_minute"]
    assert not RateLimit.objects.exists()


@pytest.mark.parametrize("model", ["gpt", "gpt@Nobody", "@Vendor", "gpt@", "x\0@Vendor", "fast"])
def test_a_limit_is_for_a_model_that_the_tenant_has(people: People, model: str) -> None:
    make_model(people.tenant)
    with pytest.raises(InvalidInput) as refused:
        limits.create(tenant=people.tenant, model=model, parallel=1, actor=SYSTEM)
    assert list(refused.value.fields) == ["model"]


def test_a_limit_needs_a_number_and_keeps_one(people: People) -> None:
    with pytest.raises(InvalidInput, match="at least one number"):
        limits.create(tenant=people.tenant, actor=SYSTEM)
    row = limits.create(tenant=people.tenant, parallel=1, requests_per_minute=5, actor=SYSTEM)
    limits.update(row, parallel=None, actor=SYSTEM)
    with pytest.raises(InvalidInput, match="at least one number"):
        limits.update(row, requests_per_minute=None, actor=SYSTEM)
    row.refresh_from_db()
    assert (row.parallel, row.requests_per_minute) == (None, 5)


def test_there_is_one_limit_of_a_scope_and_one_ceiling_of_staff_beside_it(people: People) -> None:
    tenant, token = people.tenant, token_of(people.tenant)
    for scope in ({}, {"token": token}):
        limits.create(tenant=tenant, parallel=1, actor=SYSTEM, **scope)
        limits.create(tenant=tenant, parallel=1, set_by_staff=True, actor=SYSTEM, **scope)
        for by_staff in (False, True):
            with pytest.raises(Conflict):
                limits.create(tenant=tenant, parallel=2, set_by_staff=by_staff, actor=SYSTEM, **scope)
    assert RateLimit.objects.count() == 4


def test_a_ceiling_of_staff_is_theirs_alone(people: People) -> None:
    owner = actor_of(people.owner)
    row = limits.create(tenant=people.tenant, parallel=1, set_by_staff=True, actor=SYSTEM)
    with pytest.raises(Forbidden):
        limits.update(row, parallel=100, actor=owner)
    with pytest.raises(Forbidden):
        limits.delete(row, actor=owner)
    limits.update(row, parallel=2, actor=SYSTEM, as_staff=True)
    assert applying(people.tenant) == {("this tenant", "parallel", 2)}
    limits.delete(row, actor=SYSTEM, as_staff=True)
    with pytest.raises(NotFound):
        limits.update(row, parallel=3, actor=SYSTEM, as_staff=True)


def test_a_foreign_or_revoked_token_cannot_be_bounded(people: People) -> None:
    revoked = token_of(people.tenant)
    tokens.revoke(revoked, actor=SYSTEM)
    for token in (revoked, token_of(people.elsewhere)):
        with pytest.raises(InvalidInput):
            limits.create(tenant=people.tenant, token=token, parallel=1, actor=SYSTEM)


@pytest.mark.django_db(transaction=True)
def test_every_write_is_told_to_the_gateway_and_the_audit_log(people: People) -> None:
    owner = actor_of(people.owner)
    told = RoutingChange.objects.filter(tenant_id=people.tenant.pk)
    before = told.count()
    row = limits.create(tenant=people.tenant, parallel=1, actor=owner)
    limits.update(row, parallel=2, actor=owner)
    limits.update(row, parallel=2, actor=owner)  # which changes nothing
    limits.delete(row, actor=owner)
    assert told.count() == before + 3
    events = AuditEvent.objects.filter(tenant_id=people.tenant.pk).order_by("id").values_list("action", "actor")
    assert list(events) == [(f"limit.{done}", owner.label) for done in ("created", "updated", "deleted")]


def test_the_lines_of_a_tenant_take_as_many_queries_however_many_there_are(people: People) -> None:
    tenant, factory = people.tenant, make_model(people.tenant).factory
    budgets.create(tenant=tenant, amount="1", actor=SYSTEM)

    def grow(count: int) -> int:
        for number in range(count):
            token = token_of(tenant)
            limits.create(tenant=tenant, token=token, parallel=number + 1, actor=SYSTEM)
            budgets.create(tenant=tenant, token=token, amount="1", actor=SYSTEM)
        with CaptureQueriesContext(connection) as captured:
            lines = limits.lines_for(tenant.pk)
        assert len(lines.limits) >= count
        return len(captured)

    few = grow(2)
    budgets.create(tenant=tenant, factory=factory, amount="1", actor=SYSTEM)
    assert grow(10) == few <= 6


@pytest.mark.parametrize("fields", [{"parallel": 0}, {}, {"tokens_per_minute": MAX_AMOUNT + 1}])
def test_the_database_refuses_what_makes_no_sense_too(people: People, fields: dict[str, int]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        RateLimit.objects.create(tenant=people.tenant, **fields)
