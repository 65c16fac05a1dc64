"""The pages of what was used: what they show, what they cost, who may see them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client

from core.clock import now
from core.ids import new_id
from tests.people import People, make_user
from tests.usage.calls import make_call, make_models
from usage.admin.records import count, money
from usage.models import UsageDaily, UsageRecord
from usage.records import CallRecord, Usage
from usage.services import ledger

pytestmark = pytest.mark.django_db

CALLS, DAYS = "/admin/usage/usagerecord/", "/admin/usage/usagedaily/"


@pytest.fixture
def admin() -> Client:
    client = Client()
    root: User = make_user("root", is_staff=True, is_superuser=True)
    client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def calls(people: People) -> list[CallRecord]:
    model = make_models(people.tenant, 1)[0]
    made = [
        make_call(
            tenant_id=people.tenant.pk if number else people.elsewhere.pk,
            tenant_llm_id=model.pk if number else None,
            factory="Vendor" if number else "den",
            llm_name="model-0" if number else "rare",
            started_at=(now() - timedelta(days=number)).timestamp(),
            outcome="error" if number == 2 else "complete",
            status=429 if number == 2 else 200,
            error_code="rate_limited" if number == 2 else "",
            attempts=(("model-0@Vendor", "rate_limited", 3),) if number == 2 else (("model-0@Vendor", "ok", 3),),
            usage=Usage(input_tokens=1000 + number, output_tokens=7, estimated=number == 1),
            cost=None if number == 3 else Decimal("1.25"),
        )
        for number in range(4)
    ]
    ledger.ingest(made)
    return made


def rows(client: Client, path: str) -> int:
    """How many rows the list shows."""
    page = client.get(path)
    assert page.status_code == 200
    return len(page.context["cl"].result_list)


def test_calls_are_listed_with_what_they_used_and_how_they_ended(admin: Client, calls: list[CallRecord]) -> None:
    page = admin.get(CALLS).content.decode()
    for text in ("≈ 1,001", "1,002", "model-0@Vendor", "den~rare", "rate_limited", "1.25", "0.25\xa0s", "Python", "?"):
        assert text in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", 4),
        ("?outcome=error", 1),
        ("?outcome=complete", 3),
        ("?outcome=nothing", 4),
        ("?model=rare", 1),
        ("?model=model-0@Vendor", 3),
        ("?model=model-0@Nobody", 0),
        ("?model=den~rare", 1),
        ("?model=den~model-0", 0),
        ("?model=den~", 1),
        ("?model=~", 4),
        ("?odd=unpriced", 1),
        ("?odd=estimated", 1),
        ("?q=anything", 0),
        ("?token=anything", 0),
        ("?tenant=no such name", 0),
    ],
)
def test_calls_can_be_narrowed(admin: Client, calls: list[CallRecord], query: str, shown: int) -> None:
    assert rows(admin, f"{CALLS}{query}") == shown


def test_calls_are_found_by_id_tenant_and_token(admin: Client, people: People, calls: list[CallRecord]) -> None:
    assert rows(admin, f"{CALLS}?q={calls[1].id}") == 1
    assert rows(admin, f"{CALLS}?q={new_id()}") == 0
    assert rows(admin, f"{CALLS}?q=req-1") == 1  # of the last day
    assert rows(admin, f"{CALLS}?tenant={people.tenant.pk}") == 3
    assert rows(admin, f"{CALLS}?tenant={people.elsewhere.name}") == 1
    assert rows(admin, f"{CALLS}?token={new_id()}") == 0


def test_a_call_is_shown_whole(admin: Client, calls: list[CallRecord]) -> None:
    page = admin.get(f"{CALLS}{calls[2].id}/change/").content.decode()
    for text in ("rate_limited", "429", "model-0@Vendor: rate_limited after 3 ms", "1002", calls[2].id, "req-1"):
        assert text in page


def test_the_books_can_only_be_looked_at(admin: Client, calls: list[CallRecord]) -> None:
    for path in (f"{CALLS}add/", f"{DAYS}add/"):
        assert admin.get(path).status_code == 403
    before = list(UsageRecord.objects.order_by("id").values())
    for call in calls:
        assert admin.post(f"{CALLS}{call.id}/change/", {"cost": "0"}).status_code == 403
        assert admin.post(f"{CALLS}{call.id}/delete/", {"post": "yes"}).status_code == 403
    assert list(UsageRecord.objects.order_by("id").values()) == before


def test_books_outlive_their_tenant(admin: Client, people: People, calls: list[CallRecord]) -> None:
    people.tenant.delete()
    assert rows(admin, CALLS) == rows(admin, DAYS) == 4
    assert "(deleted)" in admin.get(CALLS).content.decode()
    assert "(deleted)" in admin.get(f"{CALLS}{calls[1].id}/change/").content.decode()


@pytest.mark.parametrize(
    ("query", "shown"), [("", 4), ("?model=rare", 1), ("?model=den~rare", 1), ("?q=rare", 1), ("?token=x", 0)]
)
def test_days_are_listed_and_narrowed(admin: Client, calls: list[CallRecord], query: str, shown: int) -> None:
    assert rows(admin, f"{DAYS}{query}") == shown


def test_a_day_is_shown_and_chosen(admin: Client, people: People, calls: list[CallRecord]) -> None:
    row = UsageDaily.objects.filter(tenant_id=people.tenant.pk).order_by("day")[0]
    page = admin.get(f"{DAYS}{row.pk}/change/").content.decode()
    assert people.tenant.name in page
    assert rows(admin, f"{DAYS}?day_from={row.day}&day_to={row.day}") == 1
    assert rows(admin, f"{DAYS}?tenant={people.tenant.pk}") == 3


def test_the_dashboard_sums_up_the_last_days(admin: Client, people: People, calls: list[CallRecord]) -> None:
    usage = admin.get("/admin/").context["usage"]
    assert dict(usage["numbers"]) == {"calls": "4", "tokens": "4,034", "USD": "3.75", "errors": "1", "unpriced": "1"}
    assert [day["percent"] for day in usage["days"]] == [0] * 10 + [0, 100, 100, 100]
    assert [model["name"] for model in usage["models"]] == ["model-0@Vendor", "den~rare"]
    assert {tenant["name"] for tenant in usage["tenants"]} == {people.tenant.name, people.elsewhere.name}


def test_an_empty_dashboard_opens(admin: Client) -> None:
    usage = admin.get("/admin/").context["usage"]
    assert dict(usage["numbers"])["calls"] == "0"
    assert (len(usage["days"]), usage["models"], usage["tenants"]) == (14, [], [])


def test_staff_without_the_right_see_neither_calls_nor_sums(calls: list[CallRecord]) -> None:
    client = Client()
    client.force_login(make_user(is_staff=True), backend="django.contrib.auth.backends.ModelBackend")
    assert "usage" not in client.get("/admin/").context
    assert client.get(CALLS).status_code == client.get(DAYS).status_code == 403


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("1234.5", "1,234.50"),
        ("0.25", "0.2500"),
        ("0.00123456", "0.001235"),
        ("0.0000012000", "0.0000012000"),
        (None, "?"),
    ],
)
def test_money_is_shown_as_exactly_as_it_has_to_be(amount: str | None, text: str) -> None:
    assert money(None if amount is None else Decimal(amount)) == text


def test_counts_say_whether_they_are_known() -> None:
    assert [count(None), count(0), count(12345, estimated=True)] == ["?", "0", "≈ 12,345"]
