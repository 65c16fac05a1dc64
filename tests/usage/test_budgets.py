"""Budgets: who sets them, and what is spent of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from core.audit import SYSTEM
from core.errors import Conflict, Forbidden, InvalidInput
from tenants.models import ApiToken, AuditEvent
from tests.people import People, actor_of
from tests.usage.test_limits import make_model, token_of
from usage.admission import BudgetLine, units_of, usd_of
from usage.models import Budget, UsageDaily
from usage.services import budgets, limits, spending

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def book(
    people: People, cost: str, *, days_ago: int = 0, token: str = "", factory: str = "Vendor", at: Any = NOON
) -> None:
    """What the ledger would have booked on that day."""
    UsageDaily.objects.create(
        tenant_id=people.tenant.pk,
        day=(at - timedelta(days=days_ago)).date(),
        token_id=token,
        factory=factory,
        llm_name=f"model-{UsageDaily.objects.count()}",
        operation="chat",
        cost=Decimal(cost),
    )


def test_what_is_spent_is_of_the_budgets_scope_and_period(people: People) -> None:
    tenant, factory = people.tenant, make_model(people.tenant).factory
    token, child = token_of(tenant), token_of(tenant)
    ApiToken.objects.filter(pk=child.pk).update(parent=token)
    made = {
        (period, name): budgets.create(tenant=tenant, amount="100", period=period, actor=SYSTEM, **scope)
        for period in ("day", "month")
        for name, scope in (("tenant", {}), ("token", {"token": token}), ("factory", {"factory": factory}))
    }
    book(people, "0.0000000001", token=token.pk)
    book(people, "1", days_ago=1, token=child.pk)
    book(people, "10", days_ago=19)
    book(people, "100", days_ago=20)  # last month
    book(people, "1000", factory="Another")
    book(people, "10000", days_ago=-1)  # tomorrow
    spent = spending.spent_now(list(made.values()), at=NOON)
    assert {name: spent[row.pk] for name, row in made.items()} == {
        ("day", "tenant"): Decimal("1000.0000000001"),
        ("day", "token"): Decimal("0.0000000001"),
        ("day", "factory"): Decimal("0.0000000001"),
        ("month", "tenant"): Decimal("1011.0000000001"),
        ("month", "token"): Decimal("1.0000000001"),
        ("month", "factory"): Decimal("11.0000000001"),
    }
    for row in made.values():
        assert spending.spent(row, at=NOON) == spent[row.pk]


def test_the_gateway_gets_budgets_with_what_is_spent(people: People) -> None:
    moment = datetime.now(UTC)
    row = budgets.create(tenant=people.tenant, amount="2.5", actor=SYSTEM)
    watching = budgets.create(tenant=people.tenant, amount="1", period="day", blocks=False, actor=SYSTEM)
    book(people, "0.75", at=moment)
    _, found = limits.applying(limits.lines_for(people.tenant.pk), "", "gpt@Vendor", "Vendor")
    assert [(line.budget_id, line.amount_units, line.spent_units, line.blocks) for line in found] == [
        (row.pk, 25 * 10**9, 75 * 10**8, True),
        (watching.pk, 10**10, 75 * 10**8, False),
    ]
    assert [line.spent_in for line in found] == [f"{moment:%Y-%m}", f"{moment:%Y-%m-%d}"]
    assert budgets.spent_of_lines(found) == {line.key: 75 * 10**8 for line in found}


def test_one_that_is_counted_anew_starts_under_another_key(people: People) -> None:
    row = budgets.create(tenant=people.tenant, amount="1", actor=SYSTEM)

    def keys() -> set[str]:
        lines = limits.applying(limits.lines_for(people.tenant.pk), "", "x@y", "y")[1]
        return {line.key for line in lines}

    before = keys()
    budgets.recount(row, actor=SYSTEM)
    assert len(before | keys()) == 2
    assert AuditEvent.objects.filter(action="budget.recounted", tenant_id=people.tenant.pk).count() == 1


@pytest.mark.parametrize(
    "amount", ["0", "-1", "NaN", "Infinity", "-Infinity", "1e-11", "100000001", "1e30", "sNaN", "", "x", None]
)
def test_senseless_amounts_are_refused(people: People, amount: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        budgets.create(tenant=people.tenant, amount=amount, actor=SYSTEM)
    assert list(refused.value.fields) == ["amount"]
    row = budgets.create(tenant=people.tenant, amount="1", actor=SYSTEM)
    with pytest.raises(InvalidInput):
        budgets.update(row, amount=amount, actor=SYSTEM)
    row.refresh_from_db()
    assert row.amount == 1


def test_amounts_from_the_smallest_to_the_largest_are_kept_exactly(people: People) -> None:
    row = budgets.create(tenant=people.tenant, amount=Decimal("0.0000000001"), actor=SYSTEM)
    for amount in ("0.0000000001", "0.1", "99999999.9999999999", "100000000"):
        budgets.update(row, amount=Decimal(amount), actor=SYSTEM)
        row.refresh_from_db()
        assert row.amount == Decimal(amount) == usd_of(units_of(row.amount))


def test_there_is_one_budget_of_a_scope_and_period_and_one_of_staff_beside_it(people: People) -> None:
    tenant, factory, token = people.tenant, make_model(people.tenant).factory, token_of(people.tenant)
    scopes: list[dict[str, Any]] = [{}, {"token": token}, {"factory": factory}]
    for scope in scopes:
        for options in ({}, {"period": "day"}, {"set_by_staff": True}):
            budgets.create(tenant=tenant, amount="1", actor=SYSTEM, **scope, **options)
            with pytest.raises(Conflict):
                budgets.create(tenant=tenant, amount="2", actor=SYSTEM, **scope, **options)
    assert Budget.objects.count() == 9
    with pytest.raises(InvalidInput, match="a token or of a factory"):
        budgets.create(tenant=tenant, amount="1", token=token, factory=factory, actor=SYSTEM)
    with pytest.raises(InvalidInput, match="Unknown period"):
        budgets.create(tenant=tenant, amount="1", period="year", actor=SYSTEM)


def test_a_ceiling_of_staff_is_theirs_alone(people: People) -> None:
    owner = actor_of(people.owner)
    row = budgets.create(tenant=people.tenant, amount="1", set_by_staff=True, actor=SYSTEM)
    for change in (
        lambda: budgets.update(row, amount=Decimal(100), actor=owner),
        lambda: budgets.update(row, status="0", actor=owner),
        lambda: budgets.recount(row, actor=owner),
        lambda: budgets.delete(row, actor=owner),
    ):
        with pytest.raises(Forbidden):
            change()
    budgets.update(row, amount=Decimal(2), blocks=False, actor=SYSTEM, as_staff=True)
    row.refresh_from_db()
    assert (row.amount, row.blocks, row.status) == (2, False, "1")
    budgets.delete(row, actor=SYSTEM, as_staff=True)
    assert not Budget.objects.exists()


def test_the_audit_log_tells_what_was_changed(people: People) -> None:
    owner = actor_of(people.owner)
    row = budgets.create(tenant=people.tenant, amount="1", actor=owner)
    budgets.update(row, amount=Decimal("1.0"), actor=owner)  # no change
    budgets.update(row, amount=Decimal("2.50"), allow_unpriced=True, actor=owner)
    budgets.delete(row, actor=owner)
    events = AuditEvent.objects.filter(tenant_id=people.tenant.pk).order_by("id")
    assert [event.action for event in events] == ["budget.created", "budget.updated", "budget.deleted"]
    assert events[1].detail["changes"] == {
        "amount": {"from": "1.0000000000", "to": "2.50"},
        "allow_unpriced": {"from": False, "to": True},
    }


@pytest.mark.parametrize("amount", ["0", "-1", "100000001"])
def test_the_database_refuses_what_makes_no_sense_too(people: People, amount: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Budget.objects.create(tenant=people.tenant, amount=Decimal(amount))


@pytest.mark.parametrize("amount", ["NaN", "-0.1", "100000000.1", "Infinity"])
def test_only_sensible_money_is_counted(amount: str) -> None:
    with pytest.raises(ValueError, match="money"):
        units_of(Decimal(amount))


@pytest.mark.parametrize(("field", "value"), [("amount_units", 0), ("spent_units", -1), ("amount_units", 10**18 + 1)])
def test_a_line_that_makes_no_sense_is_not_made(field: str, value: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        BudgetLine(**{"key": "k", "budget_id": "b", "amount_units": 1, "period": "day", "scope": "x", field: value})
