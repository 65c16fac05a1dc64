"""Tells when much of a budget is spent: once a period for each threshold, however many processes look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import structlog
from django.db import IntegrityError, transaction

from core import audit
from core.audit import SYSTEM
from core.clock import epoch_ms, now
from usage.admission import period_at
from usage.models import Budget, BudgetAlert
from usage.services.spending import spent_now

logger = structlog.get_logger(__name__)

THRESHOLDS = (100, 80, 50)  # percent
AT_ONCE = 500


def record(*, at_once: int = AT_ONCE) -> int:
    """Record which budgets have reached a threshold since the last time, each the highest one; how many."""
    moment = now()
    return sum(_record(rows, moment) for rows in _in_force(at_once))


def _in_force(at_once: int) -> Iterator[list[Budget]]:
    last = ""
    while True:
        rows = list(Budget.objects.in_force().filter(pk__gt=last).select_related("factory").order_by("pk")[:at_once])
        if not rows:
            return
        yield rows
        last = rows[-1].pk


def _record(rows: Sequence[Budget], moment: datetime) -> int:
    spent = spent_now(rows, at=moment)
    periods = {row.pk: period_at(row.period, epoch_ms(moment)).label for row in rows}
    told: dict[str, int] = {}
    known = BudgetAlert.objects.filter(budget__in=rows, period__in=set(periods.values())).order_by()
    for pk, period, amount, percent in known.values_list("budget_id", "period", "amount", "percent"):
        row = next(row for row in rows if row.pk == pk)
        if (period, amount) == (periods[pk], row.amount):
            told[pk] = max(told.get(pk, 0), percent)
    reached = 0
    for row in rows:
        percent = next((each for each in THRESHOLDS if spent[row.pk] * 100 >= row.amount * each), 0)
        if percent > told.get(row.pk, 0):
            reached += _tell(row, periods[row.pk], percent, spent[row.pk])
    return reached


def _tell(row: Budget, period: str, percent: int, spent: Decimal) -> bool:
    try:
        with transaction.atomic():
            BudgetAlert.objects.create(budget=row, period=period, percent=percent, amount=row.amount, spent=spent)
            audit.record(
                "budget.reached",
                actor=SYSTEM,
                tenant_id=row.tenant_id,
                target=row.scope,
                budget_id=row.pk,
                token_id=row.token_id,
                period=period,
                percent=percent,
                spent=str(spent),
                amount=str(row.amount),
            )
    except IntegrityError:  # another process was quicker, or the budget was deleted
        return False
    logger.warning(
        "budget.reached",
        tenant_id=row.tenant_id,
        budget_id=row.pk,
        percent=percent,
        spent=str(spent),
        amount=str(row.amount),
        blocks=row.blocks,
    )
    return True
