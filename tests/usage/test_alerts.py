"""Alerts of budgets: each threshold once a period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine

from core.audit import SYSTEM
from tenants.models import AuditEvent
from tests.people import People
from tests.usage.test_budgets import book
from usage.models import BudgetAlert
from usage.services import alerts, budgets
from usage.tasks import record_budget_alerts

pytestmark = pytest.mark.django_db
NOON = datetime(2040, 11, 20, 12, tzinfo=UTC)


def told() -> list[tuple[str, int]]:
    return list(BudgetAlert.objects.order_by("id").values_list("period", "percent"))


def test_a_threshold_is_told_once_and_the_highest_alone(people: People) -> None:
    with time_machine.travel(NOON, tick=False):
        row = budgets.create(tenant=people.tenant, amount="10", actor=SYSTEM)
        book(people, "4.9999999999", at=NOON)
        assert alerts.record() == 0
        book(people, "0.0000000001", at=NOON)
        assert [alerts.record(), alerts.record()] == [1, 0]
        assert told() == [("2040-11", 50)]
        book(people, "10", at=NOON)
        record_budget_alerts()
        assert told() == [("2040-11", 50), ("2040-11", 100)]
        events = AuditEvent.objects.filter(action="budget.reached", tenant_id=people.tenant.pk).order_by("id")
        assert [event.detail["percent"] for event in events] == [50, 100]
        assert events[1].detail["spent"] == "15.0000000000"
        budgets.update(row, amount=Decimal(18), actor=SYSTEM)
        alerts.record()
        assert told()[2:] == [("2040-11", 80)]


def test_a_new_period_is_told_anew(people: People) -> None:
    with time_machine.travel(NOON, tick=False):
        budgets.create(tenant=people.tenant, amount="10", period="day", blocks=False, actor=SYSTEM)
        book(people, "8", at=NOON)
        alerts.record()
    tomorrow = NOON + timedelta(days=1)
    with time_machine.travel(tomorrow, tick=False):
        assert alerts.record() == 0
        book(people, "8", at=tomorrow)
        alerts.record()
    assert told() == [("2040-11-20", 80), ("2040-11-21", 80)]


def test_a_disabled_budget_tells_nothing(people: People) -> None:
    row = budgets.create(tenant=people.tenant, amount="1", actor=SYSTEM)
    budgets.update(row, status="0", actor=SYSTEM)
    book(people, "5", at=datetime.now(UTC))
    assert alerts.record() == 0


def test_all_budgets_are_looked_at_however_many_there_are(people: People) -> None:
    for period in ("day", "month"):
        for by_staff in (False, True):
            budgets.create(tenant=people.tenant, amount="1", period=period, set_by_staff=by_staff, actor=SYSTEM)
        budgets.create(tenant=people.elsewhere, amount="1", period=period, actor=SYSTEM)
    book(people, "5", at=datetime.now(UTC))
    assert alerts.record(at_once=2) == 4
