"""The books balance, whatever comes in whatever order however often."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.usage.calls import check_books, make_call
from usage.models import UsageRecord
from usage.services import ledger

pytestmark = pytest.mark.django_db(transaction=True)


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
    assert (row.estimated, row.stream, row.cost) == (True, True, Decimal("0.0000000001"))
    assert (row.factory, row.llm_name, row.model, row.route) == ("Vendor", "gpt", "gpt@Vendor", "fast")
    assert row.attempts == [["a@One", "rate_limited", 12], ["gpt@Vendor", "ok", 200]]
    assert (row.operation, row.error_code, row.request_id, row.end_user) == ("chat", "", "req-1", "somebody")
    check_books([call])


def test_what_is_unknown_is_empty_and_not_zero() -> None:
    calls = [make_call(input_tokens=None, cost=None), make_call(token_id="", cost=Decimal(0))]
    ledger.ingest(calls)
    unknown, free = (UsageRecord.objects.get(pk=call.id) for call in calls)
    assert (unknown.input_tokens, unknown.cost, unknown.token_id, unknown.attempts) == (None, None, None, None)
    assert free.cost == 0
    check_books(calls)
