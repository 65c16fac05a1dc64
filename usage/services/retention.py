"""How long the books are kept: the record of each call for a while, the daily sums for years. By whole days (UTC)."""

from __future__ import annotations

import time
from datetime import date, timedelta

import structlog
from django.conf import settings
from django.db.models import Model, QuerySet

from core.clock import now
from usage.models import UsageDaily, UsageRecord
from usage.services import ledger

logger = structlog.get_logger(__name__)

BATCH = 5000
PAUSE_S = 0.02  # in which whoever waits to write on SQLite gets a turn
AT_MOST_S = 480.0


def oldest_day_kept() -> date:
    """The first day whose sums are kept; never later than that of the records."""
    daily = now().date() - timedelta(days=settings.USAGE_DAILY_RETENTION_DAYS)
    return min(daily, ledger.oldest_kept().date())


def prune() -> dict[str, int]:
    """Delete what is older than it is kept, in the database and in small steps; how many rows of each went.

    Goes on the next time where it stopped: it takes no longer than AT_MOST_S.
    """
    end = time.monotonic() + AT_MOST_S
    records = UsageRecord.objects.filter(started_at__lt=ledger.oldest_kept()).order_by("started_at")
    days = UsageDaily.objects.filter(day__lt=oldest_day_kept()).order_by("day")
    gone = {"records": _delete(records, end), "days": _delete(days, end)}
    if any(gone.values()):
        logger.info("usage.pruned", **gone)
    return gone


def _delete(rows: QuerySet[Model], end: float) -> int:
    gone = 0
    while time.monotonic() < end:
        count, _ = rows.model._default_manager.filter(pk__in=rows.values("pk")[:BATCH]).delete()
        gone += count
        if count < BATCH:
            break
        time.sleep(PAUSE_S)
    return gone
