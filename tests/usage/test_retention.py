"""How long the books are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.usage.calls import make_call
from usage.models import UsageDaily, UsageRecord
from usage.services import ledger, retention

pytestmark = pytest.mark.django_db

TODAY = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)


def began(moment: datetime) -> Any:
    return make_call(started_at=moment.timestamp())


@pytest.fixture(autouse=True)
def short(settings: Any) -> None:
    settings.USAGE_RETENTION_DAYS = 30
    settings.USAGE_DAILY_RETENTION_DAYS = 60


def test_records_go_by_whole_days_and_sums_stay_longer() -> None:
    midnight = datetime(2026, 10, 22, tzinfo=UTC)
    with time_machine.travel(TODAY - timedelta(days=20), tick=False):
        old = [began(midnight - timedelta(seconds=1)), began(midnight - timedelta(days=20))]
        kept = [began(midnight)]
        assert ledger.ingest([*old, *kept]) == []
    with time_machine.travel(TODAY, tick=False):
        assert retention.prune() == {"records": 2, "days": 0}
        assert list(UsageRecord.objects.values_list("id", flat=True)) == [kept[0].id]
        assert UsageDaily.objects.count() == 3
        assert retention.prune() == {"records": 0, "days": 0}
    with time_machine.travel(TODAY + timedelta(days=30), tick=False):
        assert retention.prune() == {"records": 1, "days": 2}
        assert [str(day) for day in UsageDaily.objects.values_list("day", flat=True)] == ["2026-10-22"]


def test_sums_stay_at_least_as_long_as_records(settings: Any) -> None:
    settings.USAGE_DAILY_RETENTION_DAYS = 7
    with time_machine.travel(TODAY, tick=False):
        ledger.ingest([began(TODAY - timedelta(days=25))])
        assert retention.prune() == {"records": 0, "days": 0}


def test_what_is_too_old_is_not_taken_in_again() -> None:
    with time_machine.travel(TODAY, tick=False):
        call = began(TODAY - timedelta(days=29))
        ledger.ingest([call])
    with time_machine.travel(TODAY + timedelta(days=5), tick=False):
        retention.prune()
        [refusal] = ledger.ingest([call])
    assert "older than records are kept" in refusal.reason
    assert UsageDaily.objects.get().calls == 1


def test_the_database_deletes_without_showing_the_rows() -> None:
    with time_machine.travel(TODAY, tick=False):
        ledger.ingest([began(TODAY - timedelta(days=10)) for _ in range(20)])
    with time_machine.travel(TODAY + timedelta(days=60), tick=False), CaptureQueriesContext(connection) as queries:
        assert retention.prune() == {"records": 20, "days": 1}
    texts = [query["sql"] for query in queries if "usage_" in query["sql"]]
    assert len(texts) == 2
    assert all(text.startswith("DELETE") for text in texts)
