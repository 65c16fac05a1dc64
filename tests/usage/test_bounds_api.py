"""Limits and budgets over REST: what owners can set, and how they stand. Who may do it: tests/api/test_tenancy.py."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.test import Client

from core.audit import SYSTEM
from tests.api.world import bearer, session
from tests.people import People, make_token
from tests.usage.test_budgets import book
from tests.usage.test_limits import make_model, token_of
from usage.admission import Counters
from usage.models import Budget, RateLimit
from usage.services import budgets, counting, limits

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(people: People) -> Client:
    return bearer(make_token(people.tenant, user=people.owner))


def send(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = getattr(client, method)(path, body, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def test_an_owner_sets_changes_and_lifts_a_limit(owner: Client, people: People) -> None:
    make_model(people.tenant)
    token = token_of(people.tenant)
    body = {"token": token.pk, "model": "gpt@Vendor", "requests_per_minute": 60, "parallel": 4}
    status, made = send(owner, "post", "/api/rate-limits/", body)
    assert (status, made["set_by_staff"], made["status"], made["tokens_per_minute"]) == (201, False, "1", None)
    assert {name: made[name] for name in body} == body
    path = f"/api/rate-limits/{made['id']}/"
    status, changed = send(owner, "patch", path, {"parallel": None, "tokens_per_minute": 10**10})
    assert (status, changed["parallel"], changed["tokens_per_minute"], changed["requests_per_minute"]) == (
        200, None, 10**10, 60,
    )  # fmt: skip
    assert send(owner, "get", path) == (200, changed)
    assert send(owner, "delete", path)[0] == 204
    assert not RateLimit.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "requests_per_minute"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": -1}, "parallel"),
        ({"tokens_per_minute": 10**10 + 1}, "tokens_per_minute"),
        ({"requests_per_minute": 1.5}, "requests_per_minute"),
        ({"requests_per_minute": "many"}, "requests_per_minute"),
        ({"parallel": 1, "model": "gpt@Nobody"}, "model"),
        ({"parallel": 1, "set_by_staff": True}, "set_by_staff"),
        ({"parallel": 1, "status": "0"}, "status"),
        ({"parallel": 1, "tenant": "x"}, "tenant"),
    ],
)
def test_a_limit_that_makes_no_sense_changes_nothing(owner: Client, body: dict[str, Any], field: str) -> None:
    status, problem = send(owner, "post", "/api/rate-limits/", body)
    assert (status, list(problem["fields"])) == (400, [field])
    assert not RateLimit.objects.exists()


def test_an_owner_sets_changes_and_deletes_a_budget(owner: Client, people: People) -> None:
    factory = make_model(people.tenant).factory
    status, made = send(owner, "post", "/api/budgets/", {"factory": factory.name, "amount": "10.5", "period": "day"})
    assert (status, made["amount"], made["factory"], made["token"]) == (201, "10.5000000000", "Vendor", None)
    assert (made["blocks"], made["allow_unpriced"], made["set_by_staff"]) == (True, False, False)
    path = f"/api/budgets/{made['id']}/"
    status, changed = send(owner, "patch", path, {"amount": 20, "blocks": False, "allow_unpriced": True})
    assert (status, changed["amount"], changed["blocks"], changed["allow_unpriced"]) == (
        200, "20.0000000000", False, True,
    )  # fmt: skip
    assert send(owner, "post", "/api/budgets/", {"factory": "Vendor", "amount": "1", "period": "day"})[0] == 409
    assert send(owner, "delete", path)[0] == 204
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        *(({"amount": amount}, "amount") for amount in ("0", "-5", "NaN", "Infinity", "1e999", "0.00000000001", "x")),
        ({"amount": None}, "amount"),
        ({"amount": "100000000.1"}, "amount"),
        ({"amount": "1", "period": "year"}, "period"),
        ({"amount": "1", "factory": "Nobody"}, "factory"),
        ({"amount": "1", "set_by_staff": True}, "set_by_staff"),
        ({"amount": "1", "blocks": "perhaps"}, "blocks"),
    ],
)
def test_a_budget_that_makes_no_sense_changes_nothing(owner: Client, body: dict[str, Any], field: str) -> None:
    status, problem = send(owner, "post", "/api/budgets/", body)
    assert (status, list(problem["fields"])) == (400, [field])
    assert not Budget.objects.exists()


def test_a_token_of_another_tenant_is_not_there(owner: Client, people: People) -> None:
    foreign = token_of(people.elsewhere).pk
    assert send(owner, "post", "/api/rate-limits/", {"token": foreign, "parallel": 1})[0] == 404
    assert send(owner, "post", "/api/budgets/", {"token": foreign, "amount": "1"})[0] == 404


def test_what_staff_have_set_is_seen_and_cannot_be_changed(owner: Client, people: People) -> None:
    limit = limits.create(tenant=people.tenant, parallel=1, set_by_staff=True, actor=SYSTEM)
    budget = budgets.create(tenant=people.tenant, amount="1", set_by_staff=True, actor=SYSTEM)
    for path, change in (
        (f"/api/rate-limits/{limit.pk}/", {"parallel": 9}),
        (f"/api/budgets/{budget.pk}/", {"amount": "9"}),
    ):
        status, shown = send(owner, "get", path)
        assert (status, shown["set_by_staff"]) == (200, True)
        assert send(owner, "patch", path, change)[0] == 403
        assert send(owner, "patch", path, {"status": "0"})[0] == 403
        assert send(owner, "delete", path)[0] == 403
    staff = session(people.owner)
    people.owner.is_staff = people.owner.is_superuser = True
    people.owner.save()
    assert send(staff, "delete", f"/api/budgets/{budget.pk}/")[0] == 403  # here they act for the tenant
    limit.refresh_from_db()
    budget.refresh_from_db()
    assert (limit.parallel, limit.status, budget.amount, budget.status) == (1, "1", 1, "1")


def test_a_lower_one_beside_the_ceiling_is_possible(owner: Client, people: People) -> None:
    limits.create(tenant=people.tenant, parallel=10, set_by_staff=True, actor=SYSTEM)
    budgets.create(tenant=people.tenant, amount="10", set_by_staff=True, actor=SYSTEM)
    assert send(owner, "post", "/api/rate-limits/", {"parallel": 3})[0] == 201
    assert send(owner, "post", "/api/budgets/", {"amount": "3"})[0] == 201
    assert send(owner, "get", "/api/rate-limits/?set_by_staff=false")[1]["count"] == 1


def test_a_budget_says_what_the_books_do(owner: Client, people: People) -> None:
    moment = datetime.now(UTC)
    budgets.create(tenant=people.tenant, amount="10", actor=SYSTEM)
    book(people, "2.5", at=moment)
    stands = send(owner, "get", "/api/budgets/")[1]["results"][0]["standing"]
    assert (stands["spent"], stands["reserved"], stands["left"]) == ("2.5000000000", "0.0000000000", "7.5000000000")
    assert stands["starts_at"] == f"{moment:%Y-%m}-01T00:00:00Z"
    assert stands["resets_at"] > stands["starts_at"]
    book(people, "20", at=moment)
    stands = send(owner, "get", "/api/budgets/")[1]["results"][0]["standing"]
    assert (stands["spent"], stands["left"]) == ("22.5000000000", "0.0000000000")


def hold(people: People) -> Counters:
    """A call that runs, and one that has ended, as this process's gateway counts them."""

    async def calls() -> Counters:
        counters = counting.counters()
        found, money = limits.applying(lines, "", "gpt@Vendor", "Vendor")
        for _ in range(2):
            held = await counters.admit(found, money, tokens=40, units=15 * 10**9, now=time.time())
        await counters.settle(held, tokens=25, units=10**9)
        await counters.close()
        return counters

    lines = limits.lines_for(people.tenant.pk)
    return asyncio.run(calls())


def forget(people: People) -> None:
    if configured.REDIS_URL:
        with redis.Redis.from_url(configured.REDIS_URL) as client:
            keys = list(client.scan_iter(f"{configured.REDIS_PREFIX}limits:{{{people.tenant.pk}}}*"))
            if keys:
                client.delete(*keys)


@pytest.mark.django_db(transaction=True)
def test_what_is_counted_now_is_shown_beside_what_is_booked(owner: Client, people: People, settings: Any) -> None:
    settings.LIMITS_REDIS_TIMEOUT_MS = 5000
    make_model(people.tenant)
    limits.create(tenant=people.tenant, requests_per_minute=3, tokens_per_minute=100, parallel=5, actor=SYSTEM)
    budgets.create(tenant=people.tenant, amount="10", actor=SYSTEM)
    try:
        hold(people)
        used = send(owner, "get", "/api/rate-limits/")[1]["results"][0]["used"]
        stands = send(owner, "get", "/api/budgets/")[1]["results"][0]["standing"]
    finally:
        forget(people)
    assert used["parallel"] == 1
    assert used["requests_per_minute"] in (1, 2)  # some may have drained meanwhile
    assert 1 <= used["tokens_per_minute"] <= 65
    assert {name: Decimal(stands[name]) for name in ("spent", "reserved", "left")} == {
        "spent": Decimal("0.1"), "reserved": Decimal("1.5"), "left": Decimal("8.4"),
    }  # fmt: skip


def test_where_nobody_can_say_what_is_counted_it_is_null(owner: Client, people: People, settings: Any) -> None:
    settings.REDIS_URL, settings.WEB_WORKERS = "", 2
    limits.create(tenant=people.tenant, parallel=5, actor=SYSTEM)
    budgets.create(tenant=people.tenant, amount="10", actor=SYSTEM)
    assert send(owner, "get", "/api/rate-limits/")[1]["results"][0]["used"] == {
        "requests_per_minute": None, "tokens_per_minute": None, "parallel": None,
    }  # fmt: skip
    assert send(owner, "get", "/api/budgets/")[1]["results"][0]["standing"]["reserved"] is None


def test_a_redis_that_is_away_hides_no_list(owner: Client, people: People, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    limits.create(tenant=people.tenant, parallel=5, actor=SYSTEM)
    budgets.create(tenant=people.tenant, amount="10", actor=SYSTEM)
    assert send(owner, "get", "/api/rate-limits/")[1]["results"][0]["used"]["parallel"] is None
    stands = send(owner, "get", "/api/budgets/")[1]["results"][0]["standing"]
    assert (stands["spent"], stands["reserved"], stands["left"]) == ("0.0000000000", None, "10.0000000000")
