"""What a tenant has used, over REST: who sees it, and that it adds up."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.clock import now
from core.ids import new_id
from core.principal import Principal
from providers.models import LLMFactory
from tenants.models import ApiToken
from tests.api.world import bearer, session
from tests.people import People, actor_of, make_token, make_user
from tests.usage.calls import make_call
from usage.records import CallRecord, Usage
from usage.services import ledger, reports

pytestmark = pytest.mark.django_db


@pytest.fixture
def token(people: People) -> ApiToken:
    make_token(people.tenant, user=people.owner)
    found = ApiToken.objects.get(tenant=people.tenant)
    ApiToken.objects.filter(pk=found.pk).update(name="=frontend")
    return found


@pytest.fixture
def calls(people: People, token: ApiToken) -> list[CallRecord]:
    """Calls of three days by token and by Python, and one of another tenant."""
    noon = now().replace(hour=12, minute=0, second=0, microsecond=0)
    made = [
        make_call(
            tenant_id=people.tenant.pk,
            token_id=token.pk if number % 2 else "",
            tenant_llm_id=7 if number < 9 else 8,
            llm_name="gpt" if number < 9 else "embed",
            operation="chat" if number < 9 else "embedding",
            started_at=(noon - timedelta(days=number % 3, seconds=number)).timestamp(),
            outcome="error" if number == 4 else "complete",
            usage=Usage(input_tokens=10, cached_input_tokens=5, output_tokens=number, reasoning_tokens=1),
            cost=None if number in (4, 6) else Decimal(number) / 100,
        )
        for number in range(12)
    ]
    other = make_call(tenant_id=people.elsewhere.pk, cost=Decimal(1000))
    ledger.ingest([*made, other])
    return made


def listed(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/api/usage/records{query}")
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["results"]]


def summed(client: Client, query: str) -> dict[str, Any]:
    answer = client.get(f"/api/usage/summary{query}")
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


# --- Who sees what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "admin", "member"])
def test_members_see_what_their_tenant_used(people: People, calls: list[CallRecord], who: str) -> None:
    client = session(getattr(people, who))
    assert sorted(listed(client)) == sorted(call.id for call in calls)
    assert client.get(f"/api/usage/records/{calls[0].id}").json()["id"] == calls[0].id
    assert summed(client, "")["total"]["calls"] == 12


def test_an_outsider_sees_nothing_of_it(people: People, calls: list[CallRecord]) -> None:
    client = session(people.outsider)
    assert len(listed(client)) == 1
    assert client.get(f"/api/usage/records/{calls[0].id}").status_code == 404
    total = summed(client, f"?token={calls[1].token_id}")["total"]
    assert (total["calls"], total["cost"]) == (0, "0.0000000000")
    assert summed(client, "")["total"]["cost"] == "1000.0000000000"
    client.defaults["HTTP_X_TENANT_ID"] = people.tenant.pk
    assert client.get("/api/usage/records").status_code == 404
    assert client.get("/api/usage/summary").status_code == 404


def test_somebody_without_a_tenant_sees_nothing(people: People, calls: list[CallRecord]) -> None:
    loner: User = make_user()
    principal = Principal(actor_of(loner), "", "", frozenset({"read"}))
    assert not reports.records(principal).exists()
    assert not reports.daily(principal).exists()
    assert listed(session(loner)) == []


def test_a_token_needs_the_scope_to_read(people: People, calls: list[CallRecord]) -> None:
    for scopes, status in ((["read"], 200), (["invoke"], 403)):
        client = bearer(make_token(people.tenant, scopes=scopes, user=people.owner))
        assert client.get("/api/usage/records").status_code == status
        assert client.get("/api/usage/summary").status_code == status
    assert Client().get("/api/usage/summary").status_code == 401
    assert session(people.owner).post("/api/usage/records", {}).status_code == 405


# --- Calls ----------------------------------------------------------------------------------------------------------


def test_calls_come_newest_first_and_by_pages(people: People, calls: list[CallRecord]) -> None:
    client = session(people.owner)
    newest_first = [call.id for call in sorted(calls, key=lambda call: -call.started_at)]
    assert listed(client) == newest_first
    seen, path = [], "/api/usage/records?page_size=5"
    while path:
        page = client.get(path).json()
        seen += [row["id"] for row in page["results"]]
        path = page["next"]
    assert seen == newest_first


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("?llm_name=embed", {9, 10, 11}),
        ("?factory=Vendor&operation=chat", {0, 1, 2, 3, 4, 5, 6, 7, 8}),
        ("?factory=Nobody", set()),
        ("?outcome=error", {4}),
        ("?outcome=client_gone", set()),
        ("?unpriced=true", {6}),
        ("?unpriced=false", set(range(12)) - {6}),
        ("?estimated=true", set()),
        ("?estimated=false&llm_name=embed", {9, 10, 11}),
        ("?outcome=error&llm_name=embed", set()),
    ],
)
def test_calls_can_be_narrowed(people: People, calls: list[CallRecord], query: str, numbers: set[int]) -> None:
    assert set(listed(session(people.owner), query)) == {calls[number].id for number in numbers}


def test_calls_can_be_narrowed_to_a_token_and_a_time(people: People, calls: list[CallRecord], token: ApiToken) -> None:
    client = session(people.owner)
    assert set(listed(client, f"?token={token.pk}")) == {call.id for call in calls if call.token_id}
    middle = sorted(calls, key=lambda call: call.started_at)[6]
    at = datetime.fromtimestamp(middle.started_at, UTC).isoformat().replace("+00:00", "Z")
    assert set(listed(client, f"?started_after={at}")) == {
        call.id for call in calls if call.started_at >= middle.started_at
    }
    assert set(listed(client, f"?started_before={at}")) == {
        call.id for call in calls if call.started_at < middle.started_at
    }


def test_calls_are_found_by_their_request(people: People) -> None:
    ours, long_ago = new_id(), now() - timedelta(days=40)
    with time_machine.travel(long_ago, tick=False):
        old = new_id()
    made = [
        make_call(tenant_id=people.tenant.pk, request_id=ours),
        make_call(tenant_id=people.tenant.pk, request_id="their-own"),
        make_call(tenant_id=people.tenant.pk, request_id=old, started_at=long_ago.timestamp() + 2),
        make_call(tenant_id=people.tenant.pk, request_id="their-own", started_at=long_ago.timestamp()),
    ]
    ledger.ingest(made)
    client = session(people.member)
    for asked, found in ((ours, made[:1]), ("their-own", made[1:2]), (old, made[2:3]), (new_id(), []), ("x", [])):
        assert listed(client, f"?request_id={asked}") == [call.id for call in found]
    assert listed(session(people.outsider), f"?request_id={ours}") == []


def test_a_call_is_shown_as_it_was(people: People) -> None:
    call = make_call(
        tenant_id=people.tenant.pk,
        tenant_llm_id=7,
        attempts=(("a@One", "timeout", 5), ("gpt@Vendor", "ok", 6)),
        cost=Decimal("12.3456789012"),
        usage=Usage(input_tokens=3, audio_input_tokens=4, output_tokens=0),
    )
    ledger.ingest([call])
    shown = session(people.member).get(f"/api/usage/records/{call.id}").json()
    assert (shown["cost"], shown["token"], shown["tenant_model"]) == ("12.3456789012", None, "7")
    assert shown["attempts"][0] == {"model": "a@One", "result": "timeout", "ms": 5}
    assert (shown["usage"]["prompt_tokens"], shown["usage"]["completion_tokens"]) == (7, 0)
    assert (shown["usage"]["audio_input_tokens"], shown["usage"]["cached_input_tokens"]) == (4, None)


@pytest.mark.parametrize("query", ["?token=x", "?outcome=eaten", "?started_after=soon", "?factory=%00", "?cursor=x"])
def test_a_filter_that_makes_no_sense_is_told(people: People, query: str) -> None:
    answer = session(people.owner).get(f"/api/usage/records{query}")
    assert answer.status_code in (400, 404)
    assert answer["Content-Type"] == "application/problem+json"


def test_narrowing_takes_a_constant_number_of_queries(people: People, calls: list[CallRecord]) -> None:
    client = session(people.owner)
    listed(client)
    with CaptureQueriesContext(connection) as few:
        listed(client, "?llm_name=gpt&operation=chat&unpriced=false")
    ledger.ingest([make_call(tenant_id=people.tenant.pk, tenant_llm_id=number) for number in range(100)])
    with CaptureQueriesContext(connection) as many:
        listed(client, "?llm_name=gpt&operation=chat&unpriced=false")
    assert len(many) == len(few) <= 7


# --- Models of services ---------------------------------------------------------------------------------------------


@pytest.fixture
def served(people: People) -> list[CallRecord]:
    """Calls of a service's model, of a tenant's own that is called the same, and of nothing that was found."""
    given = {"tenant_id": people.tenant.pk, "llm_name": "small:1b"}
    made = [
        make_call(**given, factory="den", cost=Decimal(3)),
        make_call(**given, factory="den", tenant_llm_id=7, cost=Decimal(2)),
        make_call(**given, factory="Vendor", tenant_llm_id=8, cost=Decimal(1)),
        make_call(tenant_id=people.tenant.pk, factory="", llm_name="", outcome="error", cost=None),
    ]
    ledger.ingest(made)
    return made


def test_a_services_model_is_named_as_it_is_called(people: People, served: list[CallRecord]) -> None:
    client = session(people.member)
    names = ["den~small:1b", "small:1b@den", "small:1b@Vendor", ""]
    assert [client.get(f"/api/usage/records/{call.id}").json()["target"] for call in served] == names
    lines = summed(client, "?group_by=model")["results"]
    assert [(line["target"], line["factory"], line["llm_name"], line["calls"]) for line in lines] == [
        ("den~small:1b", "den", "small:1b", 1),
        ("small:1b@den", "den", "small:1b", 1),
        ("small:1b@Vendor", "Vendor", "small:1b", 1),
        ("", "", "", 1),
    ]
    assert all("of_service" not in line for line in lines)
    table = client.get("/api/usage/summary?group_by=model,token&as=csv").content.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["target"] for row in rows] == names
    assert list(rows[0])[:5] == ["factory", "llm_name", "token_id", "target", "token_name"]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("?target=den~small:1b", {0, 1}),  # as the columns say, which a factory of the same name shares
        ("?target=small:1b@den", {0, 1}),
        ("?target=small:1b@Vendor", {2}),
        ("?target=small:1b", {0, 1, 2}),
        ("?target=den~small:1b&factory=den", {0, 1}),
        ("?target=den~small:1b&factory=Vendor", set()),
        ("?target=attic~small:1b", set()),
        ("?factory=den&llm_name=small:1b", {0, 1}),
        ("?target=", {0, 1, 2, 3}),
    ],
)
def test_calls_and_sums_can_be_narrowed_to_a_model_as_it_is_called(
    people: People, served: list[CallRecord], query: str, numbers: set[int]
) -> None:
    client = session(people.owner)
    assert set(listed(client, query)) == {served[number].id for number in numbers}
    if query != "?target=":
        assert summed(client, query)["total"]["calls"] == len(numbers)


def test_a_tilde_in_a_name_of_a_known_factory_is_a_part_of_it(people: People) -> None:
    LLMFactory.objects.create(name="Known")
    call = make_call(tenant_id=people.tenant.pk, tenant_llm_id=7, factory="Known", llm_name="a~b")
    ledger.ingest([call])
    assert listed(session(people.owner), "?target=a~b@Known") == [call.id]


# --- What they come to ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "group_by", ["day", "model", "factory", "token", "operation", "day,model", "token,operation,day"]
)
def test_every_report_adds_up_to_the_calls(people: People, calls: list[CallRecord], group_by: str) -> None:
    report = summed(session(people.owner), f"?group_by={group_by}")
    assert report["group_by"] == group_by.split(",")
    assert report["truncated"] is False
    for name in ("calls", "errors", "unpriced", "prompt_tokens", "completion_tokens", "reasoning_tokens"):
        assert sum(line[name] for line in report["results"]) == report["total"][name]
    assert sum(Decimal(line["cost"]) for line in report["results"]) == Decimal(report["total"]["cost"])
    total = report["total"]
    assert (total["calls"], total["errors"], total["unpriced"]) == (12, 1, 1)
    assert (total["prompt_tokens"], total["completion_tokens"], total["total_tokens"]) == (180, 78, 258)
    assert Decimal(total["cost"]) == sum(call.cost or 0 for call in calls)


def test_days_come_in_order_and_models_by_what_they_cost(people: People, calls: list[CallRecord]) -> None:
    client = session(people.owner)
    days = [line["day"] for line in summed(client, "?group_by=day")["results"]]
    assert days == sorted(days)
    assert len(days) == 3
    lines = summed(client, "?group_by=model")["results"]
    assert [(line["factory"], line["llm_name"], line["cost"]) for line in lines] == [
        ("Vendor", "embed", "0.3000000000"),
        ("Vendor", "gpt", "0.2600000000"),
    ]


def test_tokens_are_called_by_their_names_while_there_are_any(
    people: People, calls: list[CallRecord], token: ApiToken
) -> None:
    client = session(people.owner)
    assert {line["token_name"] for line in summed(client, "?group_by=token")["results"]} == {"", "=frontend"}
    ApiToken.objects.filter(pk=token.pk).delete()
    lines = summed(client, "?group_by=token")["results"]
    assert {(line["token_id"], line["token_name"]) for line in lines} == {("", ""), (token.pk, "")}


def test_a_report_is_of_a_period_and_of_what_was_asked_for(
    people: People, calls: list[CallRecord], token: ApiToken
) -> None:
    client, today = session(people.owner), now().date()
    yesterday = today - timedelta(days=1)
    assert summed(client, f"?from={yesterday}&to={yesterday}")["total"]["calls"] == 4
    assert summed(client, f"?to={today - timedelta(days=5)}")["total"]["calls"] == 0
    assert summed(client, f"?token={token.pk}")["total"]["calls"] == 6
    assert summed(client, "?llm_name=embed&factory=Vendor")["total"]["calls"] == 3
    assert summed(client, "?operation=chat")["total"]["calls"] == 9
    report = summed(client, f"?to={today}")
    assert (report["from"], report["to"]) == (str(today - timedelta(days=29)), str(today))


@pytest.mark.parametrize(
    "query",
    [
        *("?group_by=tenant", "?group_by=", "?from=soon", "?from=2026-02-30", "?as=xml", "?token=%00"),
        *("?to=0001-01-05", "?from=2026-11-20&to=2026-11-19"),
    ],
)
def test_a_report_that_makes_no_sense_is_told(people: People, query: str) -> None:
    answer = session(people.owner).get(f"/api/usage/summary{query}")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_a_table_says_the_same_and_holds_no_formula(people: People, calls: list[CallRecord]) -> None:
    client = session(people.owner)
    answer = client.get("/api/usage/summary?group_by=day,token&as=csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].startswith('attachment; filename="usage-')
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    lines = summed(client, "?group_by=day,token")["results"]
    assert [(row["day"], row["token_id"], row["calls"], row["cost"]) for row in rows] == [
        (line["day"], line["token_id"], str(line["calls"]), line["cost"]) for line in lines
    ]
    assert {row["token_name"] for row in rows} == {"", "'=frontend"}


def test_a_report_with_too_many_lines_says_so(people: People) -> None:
    ledger.ingest(
        [make_call(tenant_id=people.tenant.pk, llm_name=f"m{number}") for number in range(reports.MAX_LINES + 1)]
    )
    report = summed(session(people.owner), "?group_by=model")
    assert (len(report["results"]), report["truncated"]) == (reports.MAX_LINES, True)
    assert report["total"]["calls"] == reports.MAX_LINES + 1
