"""The books balance, whatever comes in whatever order however often."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, DataError, connection
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ids import new_id
from tests.people import People
from tests.usage.calls import TENANT, check_books, make_call, make_models
from usage.models import UsageDaily, UsageRecord
from usage.models.records import DIMENSIONS, MEASURES
from usage.pricing import LARGEST_COST
from usage.records import COUNTS, LARGEST_COUNT, Outcome, Usage
from usage.services import ledger, rows

pytestmark = pytest.mark.django_db


def test_a_call_is_kept_as_it_was() -> None:
    call = make_call(
        token_id="f" * 32,
        tenant_llm_id=5,
        stream=True,
        first_token_ms=17,
        input_tokens=7,
        cached_input_tokens=0,
        output_tokens=3,
        estimated=True,
        route="fast",
        attempts=(("a@One", "rate_limited", 12), ("gpt@Vendor", "ok", 200)),
        end_user="somebody",
        cost=Decimal("0.0000000001"),
    )
    assert ledger.ingest([call]) == []
    [row] = UsageRecord.objects.all()
    assert (row.id, row.tenant_id, row.token_id, row.tenant_llm_id) == (call.id, call.tenant_id, "f" * 32, 5)
    assert abs(row.started_at.timestamp() - call.started_at) < 0.001
    assert (row.latency_ms, row.first_token_ms, row.status, row.outcome) == (250, 17, 200, "complete")
    assert (row.input_tokens, row.cached_input_tokens, row.cache_write_tokens, row.output_tokens) == (7, 0, None, 3)
    assert (row.prompt_tokens, row.completion_tokens) == (7, 3)
    assert (row.estimated, row.stream, row.cost) == (True, True, Decimal("0.0000000001"))
    assert (row.factory, row.llm_name, row.model, row.route) == ("Vendor", "gpt", "gpt@Vendor", "fast")
    assert row.attempts == [["a@One", "rate_limited", 12], ["gpt@Vendor", "ok", 200]]
    assert (row.operation, row.error_code, row.request_id, row.end_user) == ("chat", "", "req-1", "somebody")
    check_books([call])


def test_every_column_is_written() -> None:
    columns = {field.attname for field in UsageRecord._meta.concrete_fields}
    assert set(rows.RECORD_COLUMNS) == columns
    assert {*DIMENSIONS, *MEASURES, "id"} == {field.attname for field in UsageDaily._meta.concrete_fields}


def test_what_is_unknown_is_empty_and_not_zero() -> None:
    calls = [make_call(input_tokens=None, cost=None), make_call(token_id="", cost=Decimal(0))]
    ledger.ingest(calls)
    unknown, free = (UsageRecord.objects.get(pk=call.id) for call in calls)
    assert (unknown.input_tokens, unknown.cost, unknown.token_id, unknown.attempts) == (None, None, None, None)
    assert (unknown.prompt_tokens, unknown.completion_tokens) == (None, None)
    assert free.cost == 0
    assert UsageDaily.objects.get().unpriced == 1
    check_books(calls)


def test_a_call_that_failed_is_an_error_and_not_unpriced() -> None:
    calls = [make_call(outcome=outcome, cost=None, usage=Usage()) for outcome in Outcome]
    ledger.ingest(calls)
    row = UsageDaily.objects.get()
    assert (row.calls, row.errors, row.unpriced, row.cost) == (4, 1, 3, 0)


def test_a_call_belongs_to_the_day_it_began_on_in_utc() -> None:
    midnight = time.time() // 86400 * 86400
    calls = [make_call(started_at=midnight - 0.001), make_call(started_at=midnight)]
    ledger.ingest(calls)
    assert UsageDaily.objects.count() == 2
    check_books(calls)


def test_models_that_are_gone_keep_their_books(people: People) -> None:
    [model] = make_models(people.tenant, 1)
    calls = [make_call(tenant_llm_id=model.pk, tenant_id=people.tenant.pk) for _ in range(2)]
    ledger.ingest(calls[:1])
    people.tenant.delete()
    ledger.ingest(calls)
    check_books(calls)


def test_sums_are_exact_where_floating_point_numbers_are_not() -> None:
    calls = [make_call(cost=Decimal("0.1000000001")) for _ in range(1000)] + [make_call(cost=LARGEST_COST)]
    ledger.ingest(calls)
    assert UsageDaily.objects.all().totals()["cost"] == Decimal("1000100.0000001")
    check_books(calls)


def test_the_largest_counts_find_room() -> None:
    call = make_call(usage=Usage(*[LARGEST_COUNT] * len(COUNTS)), latency_ms=2**40, status=10**6, first_token_ms=-1)
    ledger.ingest([call])
    row = UsageRecord.objects.get()
    assert (row.latency_ms, row.status, row.first_token_ms, row.pages) == (LARGEST_COUNT, 32767, 0, LARGEST_COUNT)
    check_books([call])


def test_texts_that_a_database_cannot_keep_are_made_to_fit() -> None:
    call = make_call(
        model="a\0b" + "m" * 500,
        error_code="half \ud83d a pair",
        end_user="é" * 100,
        attempts=(("x" * 300, "y\0" * 300, -5),) * 50,
    )
    assert ledger.ingest([call]) == []
    row = UsageRecord.objects.get()
    assert (row.model, row.error_code, row.end_user) == ("ab" + "m" * 254, "half ? a pair", "é" * 64)
    assert row.attempts is not None
    assert (len(row.attempts), row.attempts[0]) == (20, ["x" * 256, "y" * 64, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant_id": "nobody"},
        {"token_id": "T" * 32},
        {"tenant_llm_id": 2**63},
        {"outcome": "eaten"},
        {"cost": Decimal("-1")},
        {"cost": Decimal("NaN")},
        {"cost": Decimal("0.00000000001")},
        {"input_tokens": LARGEST_COUNT + 1},
        {"started_at": time.time() - 91 * 86400},
        {"latency_ms": None},
        {"factory": 7},
        {"usage": None},
        {"attempts": ((1, 2),) * 2},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_no_book_can_hold_is_refused_and_costs_no_other_call(wrong: dict[str, Any]) -> None:
    good, bad = make_call(), make_call(**wrong)
    [refusal] = ledger.ingest([bad, good])
    assert refusal.record is bad
    assert refusal.reason
    check_books([good])


def failing(when: Callable[[int, str, Any], bool], error: Exception) -> Any:
    """The database, seen from here, fails at the statements of which that is said (their number, text and values)."""
    seen = iter(range(10**6))

    def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if when(next(seen), sql, params):
            raise error
        return execute(sql, params, many, context)

    return connection.execute_wrapper(wrap)


def test_a_value_that_only_the_database_refuses_is_found_among_many() -> None:
    calls = [make_call(model="odd" if number == 13 else "gpt") for number in range(40)]
    with failing(lambda _, sql, params: "INSERT" in sql and "odd" in str(params), DataError("odd")):
        [refusal] = ledger.ingest(calls)
    assert refusal.record is calls[13]
    assert "odd" in refusal.reason
    check_books(calls[:13] + calls[14:])


tokens = st.none() | st.integers(0, 10**6)
amounts = st.none() | st.integers(0, 10**14).map(lambda units: Decimal(units).scaleb(-10))


@settings(max_examples=25)
@given(st.data())
def test_any_order_any_repetition_and_any_interruption_leave_the_same_books(data: st.DataObject) -> None:
    UsageRecord.objects.all().delete()
    UsageDaily.objects.all().delete()
    base = time.time() // 86400 * 86400
    calls = data.draw(
        st.lists(
            st.builds(
                make_call,
                id=st.builds(new_id),
                tenant_id=st.sampled_from([TENANT, "9" * 32]),
                token_id=st.sampled_from(["", "a" * 32]),
                tenant_llm_id=st.sampled_from([None, 1, 2]),
                llm_name=st.sampled_from(["gpt", "claude"]),
                operation=st.sampled_from(["chat", "embedding"]),
                outcome=st.sampled_from(list(Outcome)),
                started_at=st.integers(-3 * 86400, 86399).map(lambda second: base + second),
                usage=st.builds(Usage, *[tokens] * len(COUNTS), st.booleans()),
                cost=amounts,
            ),
            min_size=1,
            max_size=12,
        )
    )
    batches = data.draw(st.lists(st.lists(st.sampled_from(calls), min_size=1, max_size=15), max_size=6))
    for batch in batches:
        breaks_at = data.draw(st.integers(0, 8))
        with suppress(DatabaseError), failing(lambda number, *_: number == breaks_at, DatabaseError("gone")):  # noqa: B023
            ledger.ingest(batch)
    booked = {call.id: call for batch in batches for call in batch}
    there = set(UsageRecord.objects.values_list("id", flat=True))
    check_books([call for key, call in booked.items() if key in there])
    ledger.ingest(data.draw(st.permutations(calls)))
    check_books(calls)
