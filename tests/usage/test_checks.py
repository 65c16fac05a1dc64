"""What the system checks say of limits and budgets."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit import SYSTEM
from providers.models import LLM
from tests.people import People
from tests.tenants.test_checks import found, stored
from tests.usage.test_limits import make_model
from usage.services import budgets


def test_w019_several_workers_without_redis(settings: Any) -> None:
    settings.REDIS_URL, settings.WEB_WORKERS = "", 4
    (message,) = found("W019")
    assert message.msg.startswith("4 web workers")
    settings.REDIS_URL = "redis://localhost"
    assert not found("W019")
    settings.REDIS_URL, settings.WEB_WORKERS = "", 1
    assert not found("W019")


@pytest.mark.django_db
def test_w020_a_model_without_a_price_that_a_budget_refuses(people: People) -> None:
    row = make_model(people.tenant)
    assert not stored("W020")
    budget = budgets.create(tenant=people.tenant, amount="1", actor=SYSTEM)
    (message,) = stored("W020")
    assert "gpt@Vendor" in message.msg
    row.llm = LLM.objects.create(
        factory=row.factory,
        llm_name="gpt",
        model_types=["chat"],
        input_price=0,
        output_price=0,
        price_source="operator",
    )
    row.save()
    assert not stored("W020")
    make_model(people.tenant, "other")
    assert stored("W020")
    budgets.update(budget, allow_unpriced=True, actor=SYSTEM)
    assert not stored("W020")
    budgets.create(tenant=people.tenant, amount="1", factory=row.factory, actor=SYSTEM)
    assert stored("W020")
