"""Proves the books: recomputes the daily sums from the records, and what models have used from the sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import Count, Q, Sum

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import InvalidInput
from tenants.models import TenantLLM
from usage.models import UsageDaily, UsageRecord
from usage.models.records import DIMENSIONS, MEASURES
from usage.records import COUNTS, TOKENS, Outcome, called
from usage.services import ledger, retention

logger = structlog.get_logger(__name__)

_RECORD_DIMENSIONS = tuple(name for name in DIMENSIONS if name != "day")
_FAILED = Q(outcome=Outcome.ERROR.value)

Key = tuple[Any, ...]
Sums = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that is not what its parts come to."""

    what: str  # for people
    key: Key
    booked: Sums
    recomputed: Sums


@dataclass(slots=True)
class Report:
    first: date
    last: date
    days: int = 0
    records: int = 0
    models: int = 0
    repaired: bool = False
    differences: list[Difference] = field(default_factory=list)


def check(*, first: date, last: date, repair: bool = False, actor: Actor = audit.SYSTEM) -> Report:
    """Compare the sums of these days (both included) with their records, and models' tokens with the sums.

    With `repair`, sums become what their parts come to. Safe while calls are being booked. Raises InvalidInput for days
    whose records are kept no more: they cannot be recomputed.
    """
    oldest = ledger.oldest_kept().date()
    if first > last:
        raise InvalidInput("The period ends before it begins.", fields={"first": ["Must not be after the last day."]})
    if first < oldest:
        raise InvalidInput(
            f"Records before {oldest} are kept no more, so that earlier days cannot be recomputed.",
            hint="Begin later, or keep records longer (USAGE_RETENTION_DAYS).",
        )
    report = Report(first, last, repaired=repair)
    day = first
    while day <= min(last, now().date() + timedelta(days=1)):
        _check_day(day, report, repair)
        day += timedelta(days=1)
    _check_models(report, repair)
    if repair and report.differences:
        what = [difference.what for difference in report.differences]
        audit.record(
            "usage.repaired", actor=actor, target=f"{first} to {last}", differences=len(what), first_of_them=what[:20]
        )
    return report


def _check_day(day: date, report: Report, repair: bool) -> None:
    with transaction.atomic():
        _hold_still(repair)
        booked = {
            tuple(row[name] for name in _RECORD_DIMENSIONS): {name: row[name] for name in MEASURES}
            for row in UsageDaily.objects.filter(day=day).order_by().values(*DIMENSIONS, *MEASURES)
        }
        recomputed = dict(_sums_of(day))
        report.days += 1
        report.records += sum(sums["calls"] for sums in recomputed.values())
        for key in sorted(booked.keys() | recomputed.keys()):
            has, should = booked.get(key, {}), recomputed.get(key, {})
            if has == should:
                continue
            model = called(key[3], key[4], of_service=not key[2])
            what = f"{day}, tenant {key[0]}, token {key[1] or '–'}, {model}, {key[5]}"
            report.differences.append(Difference(what, (day, *key), *_unlike(has, should)))
            if repair:
                row = dict(zip(_RECORD_DIMENSIONS, key, strict=True))
                if should:
                    UsageDaily.objects.update_or_create(day=day, **row, defaults=should)
                else:
                    UsageDaily.objects.filter(day=day, **row).delete()


def _sums_of(day: date) -> Iterator[tuple[Key, Sums]]:
    """What the records of a day come to."""
    start = datetime.combine(day, time(), UTC)
    rows = UsageRecord.objects.filter(started_at__gte=start, started_at__lt=start + timedelta(days=1)).order_by()
    grouped = rows.values(*_RECORD_DIMENSIONS).annotate(
        sum_calls=Count("pk"),
        sum_errors=Count("pk", filter=_FAILED),
        sum_estimated=Count("pk", filter=Q(estimated=True)),
        sum_unpriced=Count("pk", filter=Q(cost=None) & ~_FAILED),
        **{f"sum_{name}": Sum(name) for name in (*COUNTS, "cost")},
    )
    for row in grouped:
        key = tuple(row[name] for name in _RECORD_DIMENSIONS)
        tenant_id, token_id, tenant_llm_id, *rest = key
        yield (
            (tenant_id, token_id or "", tenant_llm_id or 0, *rest),
            {name: row[f"sum_{name}"] or 0 for name in MEASURES},
        )


def _check_models(report: Report, repair: bool) -> None:
    """A model has used what its days come to; more, if it is older than the days that are kept."""
    with transaction.atomic():
        _hold_still(repair)
        days = UsageDaily.objects.order_by().exclude(tenant_llm_id=0)
        sums = days.values_list("tenant_llm_id").annotate(total=sum((Sum(name) for name in TOKENS[1:]), Sum(TOKENS[0])))
        totals = {pk: int(total) for pk, total in sums}
        kept_since = retention.oldest_day_kept()
        for model in TenantLLM.objects.order_by("pk").values("pk", "llm_name", "used_tokens", "created_at"):
            report.models += 1
            has, should = model["used_tokens"], totals.get(model["pk"], 0)
            whole = model["created_at"].date() >= kept_since
            if has == should or (has > should and not whole):
                continue
            what = f"tokens used of {model['llm_name']} (tenant model {model['pk']})"
            report.differences.append(Difference(what, (model["pk"],), {"used_tokens": has}, {"used_tokens": should}))
            if repair:
                TenantLLM.objects.filter(pk=model["pk"]).update(used_tokens=should)


def _hold_still(repair: bool) -> None:
    """All of this transaction sees one instant; for a repair, nobody books meanwhile. SQLite does both by itself."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        if repair:
            cursor.execute(f'LOCK TABLE "{UsageDaily._meta.db_table}" IN SHARE ROW EXCLUSIVE MODE')
        elif not connection.savepoint_ids:  # it is the first thing that a transaction may do
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _unlike(booked: Sums, recomputed: Sums) -> tuple[Sums, Sums]:
    """Only what differs."""
    names = [name for name in MEASURES if booked.get(name, 0) != recomputed.get(name, 0)]
    return {name: booked.get(name, 0) for name in names}, {name: recomputed.get(name, 0) for name in names}
