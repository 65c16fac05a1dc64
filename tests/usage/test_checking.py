"""The books are proved, and put right."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.core.management.base import CommandError

from core.clock import now
from core.errors import InvalidInput
from tenants.models import AuditEvent, TenantLLM
from tests.people import People, make_user
from tests.usage.calls import check_books, make_call, make_models
from usage.models import UsageDaily, UsageRecord
from usage.records import CallRecord, Outcome, Usage
from usage.services import checking, ledger, retention

pytestmark = pytest.mark.django_db


def today() -> date:
    return now().date()


@pytest.fixture
def calls(people: People) -> list[CallRecord]:
    """Booked calls of three days, to two models."""
    models = make_models(people.tenant, 2)
    made = [
        make_call(
            tenant_id=people.tenant.pk,
            token_id="c" * 32 if number // 6 % 2 else "",
            tenant_llm_id=models[number % 2].pk,
            llm_name=models[number % 2].llm_name,
            started_at=(now() - timedelta(days=number % 3)).timestamp(),
            outcome=list(Outcome)[number % 4],
            cost=None if number % 5 == 0 else Decimal(number) / 1000,
            usage=Usage(input_tokens=number, reasoning_tokens=1, searches=2, estimated=number % 2 == 0),
        )
        for number in range(60)
    ]
    ledger.ingest(made)
    return made


def command(*args: str) -> tuple[str, int]:
    """What it printed, and its exit status."""
    out = io.StringIO()
    try:
        call_command("usage_check", *args, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


def test_books_that_balance_have_no_differences(calls: list[CallRecord]) -> None:
    report = checking.check(first=today() - timedelta(days=6), last=today())
    assert (report.days, report.records, report.models, report.differences) == (7, 60, 2, [])
    said, status = command()
    assert "7 days with 60 calls and 2 models checked: 0 differences." in said
    assert status == 0


def test_every_kind_of_difference_is_found_and_repaired(calls: list[CallRecord]) -> None:
    model = TenantLLM.objects.all()[0]
    TenantLLM.objects.filter(pk=model.pk).update(used_tokens=model.used_tokens + 7)
    wrong, missing, *_ = UsageDaily.objects.filter(day=today(), tenant_llm_id=model.pk).order_by("id")
    UsageDaily.objects.filter(pk=wrong.pk).update(calls=wrong.calls + 5, cost=wrong.cost + Decimal("0.01"))
    missing.delete()
    extra = UsageDaily.objects.create(tenant_id="d" * 32, day=today(), operation="chat", calls=1)
    report = checking.check(first=today(), last=today())
    assert len(report.differences) == 4
    keys = {difference.key[1] for difference in report.differences if len(difference.key) > 1}
    assert keys == {wrong.tenant_id, extra.tenant_id}
    said, status = command("--from", str(today()))
    assert f"calls: booked {wrong.calls + 5}, should be {wrong.calls}" in said
    assert status == 1
    said, status = command("--repair", "--user", make_user("auditor").username)
    assert "differences repaired" in said
    assert status == 0
    check_books(calls)
    event = AuditEvent.objects.get(action="usage.repaired")
    assert event.actor == "auditor"
    assert command()[1] == 0


def test_a_period_is_checked_and_no_other(calls: list[CallRecord]) -> None:
    UsageDaily.objects.filter(day=today()).update(errors=99)
    yesterday = today() - timedelta(days=1)
    assert checking.check(first=yesterday, last=yesterday).differences == []
    assert checking.check(first=today(), last=today()).differences != []


def test_days_without_records_cannot_be_recomputed(calls: list[CallRecord], settings: Any) -> None:
    settings.USAGE_RETENTION_DAYS = 2
    with pytest.raises(InvalidInput, match="kept no more"):
        checking.check(first=today() - timedelta(days=3), last=today())
    with pytest.raises(InvalidInput, match="ends before"):
        checking.check(first=today(), last=today() - timedelta(days=1))
    with pytest.raises(CommandError, match="kept no more"):
        command("--from", "2020-01-01")


def test_a_model_older_than_the_sums_may_have_used_more(people: People, settings: Any) -> None:
    settings.USAGE_RETENTION_DAYS, settings.USAGE_DAILY_RETENTION_DAYS = 30, 40
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with time_machine.travel(start, tick=False):
        [model] = make_models(people.tenant, 1)
        ledger.ingest([make_call(tenant_llm_id=model.pk, started_at=start.timestamp())])
    with time_machine.travel(start + timedelta(days=100), tick=False):
        retention.prune()
        assert UsageRecord.objects.count() == UsageDaily.objects.count() == 0
        assert checking.check(first=today(), last=today()).differences == []
        TenantLLM.objects.update(used_tokens=0)
        ledger.ingest([make_call(tenant_llm_id=model.pk, started_at=now().timestamp())])
        TenantLLM.objects.update(used_tokens=3)  # less than its days come to: that cannot be
        [difference] = checking.check(first=today(), last=today()).differences
        assert (difference.booked, difference.recomputed) == ({"used_tokens": 3}, {"used_tokens": 120})


def test_the_command_says_what_waits_and_what_was_put_aside(settings: Any, tmp_path: Any) -> None:
    settings.USAGE_SPOOL_DIR = tmp_path
    assert "wait" not in command()[0]
    (tmp_path / "1.spool").write_bytes(b"x" * 10)
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "1.lines").write_bytes(b"a\nb\n")
    said, _ = command()
    assert "10 bytes of records wait" in said
    assert "2 lines were put aside" in said
