"""What a tenant has used: by day, model, factory, token or operation; and the calls themselves.

Reports are made of the daily sums, so that they cost the same however many calls there were.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import BooleanField, Case, Max, Min, Q, QuerySet, Sum, When

from core.clock import now
from core.ids import time_of
from core.principal import Principal
from providers.models import LLMFactory
from tenants.models import ApiToken
from usage.models import UsageDaily, UsageRecord
from usage.models.records import MEASURES, UsageDailyQuerySet, UsageRecordQuerySet
from usage.pricing import MONEY_STEP
from usage.records import TOKENS, Outcome, called

GROUPS: dict[str, tuple[str, ...]] = {
    "day": ("day",),
    "model": ("factory", "llm_name"),
    "factory": ("factory",),
    "token": ("token_id",),
    "operation": ("operation",),
}
"""By what usage can be summed up, and the columns that make it."""

MAX_LINES = 5000
_PROMPT, _COMPLETION = TOKENS[:4], TOKENS[4:]
_FEW_MODELS = 20
_OF_SERVICE = Case(When(tenant_llm_id=0, then=True), default=False, output_field=BooleanField())
_UNPRICED = Q(cost=None) & ~Q(outcome=Outcome.ERROR.value)
SUMS = (
    *("calls", "errors", "estimated", "unpriced", "prompt_tokens", "completion_tokens", "total_tokens"),
    *(name for name in MEASURES if name not in ("calls", "errors", "estimated", "unpriced", "cost")),
    "cost",
)
"""What a line of a report says, in order."""


@dataclass(frozen=True, slots=True)
class Summary:
    first: date
    last: date
    group_by: tuple[str, ...]
    lines: list[dict[str, Any]]  # what each is of, and its sums
    total: dict[str, Any]
    truncated: bool


def daily(principal: Principal) -> UsageDailyQuerySet:
    """The sums that a caller may see: those of its tenant. Raises Forbidden."""
    principal.require("read")
    rows = UsageDaily.objects.all()
    return rows.for_tenant(principal.tenant_id) if principal.tenant_id else rows.none()


def records(principal: Principal) -> UsageRecordQuerySet:
    """The calls that a caller may see: those of its tenant. Raises Forbidden."""
    principal.require("read")
    rows = UsageRecord.objects.all()
    return rows.for_tenant(principal.tenant_id) if principal.tenant_id else rows.none()


def summary(rows: UsageDailyQuerySet, *, first: date, last: date, group_by: Sequence[str]) -> Summary:
    """What the rows of these days (both included) come to, a line for each group.

    Days come in their order, everything else by what it cost. At most MAX_LINES; the total is of all.
    """
    rows = rows.between(first, last).order_by()
    columns = [column for group in group_by for column in GROUPS[group]]
    sums = {f"sum_{name}": Sum(name) for name in MEASURES}
    order = ["day"] * ("day" in group_by) + ["-sum_cost", "-sum_calls", *(name for name in columns if name != "day")]
    if "model" in group_by:  # a service may be called like a factory
        columns.append("of_service")
    grouped = rows.annotate(of_service=_OF_SERVICE).values(*columns).annotate(**sums).order_by(*order)
    found = list(grouped[: MAX_LINES + 1]) if columns else []
    lines = [{**{name: row[name] for name in columns}, **_sums(row)} for row in found[:MAX_LINES]]
    if "model" in group_by:
        for line in lines:
            line["target"] = called(line["factory"], line["llm_name"], of_service=line.pop("of_service"))
    if "token" in group_by:
        _name_tokens(lines)
    total = _sums({f"sum_{name}": value for name, value in rows.totals().items()})
    return Summary(first, last, tuple(group_by), lines, total, truncated=len(found) > MAX_LINES)


def as_json(report: Summary) -> dict[str, Any]:
    """A report as JSON has it; money is a text."""
    return {
        "from": report.first.isoformat(),
        "to": report.last.isoformat(),
        "group_by": list(report.group_by),
        "results": [_jsonable(line) for line in report.lines],
        "total": _jsonable(report.total),
        "truncated": report.truncated,
    }


def as_csv(report: Summary) -> str:
    """The lines of a report for a spreadsheet. What people have named is text there, and never a formula."""
    columns = [column for group in report.group_by for column in GROUPS[group]]
    columns += [name for group, name in (("model", "target"), ("token", "token_name")) if group in report.group_by]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*columns, *SUMS])
    for line in report.lines:
        writer.writerow([*(_harmless(line[name]) for name in columns), *(_plain(line[name]) for name in SUMS)])
    return text.getvalue()


def narrowed(
    rows: QuerySet[UsageRecord],
    days: UsageDailyQuerySet,
    *,
    wanted: Mapping[str, Any],
    unpriced: bool | None = None,
    estimated: bool | None = None,
) -> QuerySet[UsageRecord]:
    """Those calls whose columns have the wanted values (token_id, factory, llm_name, operation, outcome).

    The daily sums of the same tenant tell first on which days, and of which models, there are any: so that what is rare
    is found without going through everything else.
    """
    wanted = {name: value for name, value in wanted.items() if value not in (None, "")}
    rows = rows.filter(**wanted)
    if wanted.get("outcome", Outcome.COMPLETE) != Outcome.COMPLETE:
        rows = rows.exclude(outcome=Outcome.COMPLETE.value)  # follows from it, and is what an index says
    days = days.filter(**{name: value for name, value in wanted.items() if name != "outcome"})
    if unpriced is not None:
        rows = rows.filter(_UNPRICED) if unpriced else rows.exclude(_UNPRICED)
    if estimated is not None:
        rows = rows.filter(estimated=estimated)
    rare = {"unpriced": unpriced, "estimated": estimated, "errors": wanted.get("outcome") == Outcome.ERROR}
    days = days.filter(**{f"{name}__gt": 0 for name, only in rare.items() if only})
    if not wanted and not any(rare.values()):
        return rows
    span = days.order_by().aggregate(first=Min("day"), last=Max("day"))
    if span["first"] is None:
        return rows.none()
    begin, end = (datetime.combine(day, time(), UTC) for day in (span["first"], span["last"] + timedelta(days=1)))
    rows = rows.filter(started_at__gte=begin, started_at__lt=end)
    if "factory" in wanted or "llm_name" in wanted:
        models = days.order_by().values_list("tenant_llm_id", flat=True).distinct()[: _FEW_MODELS + 1]
        if len(models) <= _FEW_MODELS and 0 not in models:
            rows = rows.filter(tenant_llm_id__in=list(models))
    return rows


def columns_of(target: str) -> dict[str, str]:
    """What the rows of a model have in their columns; it is named as it is called, or by its own name alone."""
    llm_name, at, factory = target.rpartition("@")
    service, tilde, served = target.partition("~")
    if tilde and not (at and LLMFactory.objects.filter(name=factory).exists()):
        return {"llm_name": served, "factory": service}
    return {"llm_name": llm_name, "factory": factory} if at else {"llm_name": target}


def of_request(rows: QuerySet[UsageRecord], request_id: str) -> QuerySet[UsageRecord]:
    """The calls that answered a request (its X-Request-Id).

    An id that the gateway made says when it was made, and so where to look; with one that the caller brought, only the
    last day is looked through.
    """
    made_at = time_of(request_id)
    if made_at is None:
        return rows.filter(request_id=request_id, started_at__gte=now() - timedelta(days=1))
    first, last = made_at - timedelta(minutes=1), made_at + timedelta(hours=1)
    return rows.filter(request_id=request_id, started_at__range=(first, last))


def _sums(row: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of a line, tokens that went in and came out included."""
    found: dict[str, Any] = {name: int(row[f"sum_{name}"]) for name in MEASURES if name != "cost"}
    found["prompt_tokens"] = sum(found[name] for name in _PROMPT)
    found["completion_tokens"] = sum(found[name] for name in _COMPLETION)
    found["total_tokens"] = found["prompt_tokens"] + found["completion_tokens"]
    found["cost"] = Decimal(row["sum_cost"]).quantize(MONEY_STEP)
    return {name: found[name] for name in SUMS}


def _name_tokens(lines: Iterable[dict[str, Any]]) -> None:
    """Add the names of the tokens that there still are."""
    lines = list(lines)
    ids = {line["token_id"] for line in lines if line["token_id"]}
    names = dict(ApiToken.objects.filter(pk__in=ids).order_by().values_list("pk", "name"))
    for line in lines:
        line["token_name"] = names.get(line["token_id"], "")


def _jsonable(line: Mapping[str, Any]) -> dict[str, Any]:
    plain = {**line, "cost": format(line["cost"], "f")}
    if "day" in plain:
        plain["day"] = plain["day"].isoformat()
    return plain


def _plain(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _harmless(value: Any) -> str:
    """Spreadsheets take a text that begins like a formula for one."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
