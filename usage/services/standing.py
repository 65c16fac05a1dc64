"""How limits and budgets stand now: what the books say was spent, and what is counted at this moment."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import redis
import structlog
from django.conf import settings

from core.clock import epoch_ms, now
from usage.admission import BudgetLine, Limit, Money, Standing, period_at, usd_of
from usage.counters import scripts
from usage.counters.keys import look_arguments, look_keys, standing_of
from usage.counters.verdicts import MINUTE_MS
from usage.models import Budget, RateLimit
from usage.models.limits import AMOUNTS
from usage.services.budgets import line_of
from usage.services.counting import counts_alone, local
from usage.services.limits import KINDS, keys_of
from usage.services.spending import spent_now

logger = structlog.get_logger(__name__)

WITHIN_S = 0.25


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """In USD. What is set aside for running calls is None where nobody can say."""

    spent: Decimal
    reserved: Decimal | None
    left: Decimal
    starts_at: datetime
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class LimitStanding:
    """What is used of each number now: in the last minute, or at this moment; None where nobody can say."""

    used: dict[str, int | None] = field(default_factory=dict)


def of_budgets(rows: Sequence[Budget]) -> dict[str, BudgetStanding]:
    """By id; three queries and one question to Redis at most for each tenant."""
    moment = now()
    spent = spent_now(rows, at=moment)
    lines = {row.pk: line_of(row, spent[row.pk], at_ms=epoch_ms(moment)) for row in rows}
    counted = _look((), list(lines.values()))
    found: dict[str, BudgetStanding] = {}
    for row in rows:
        period = period_at(row.period, epoch_ms(moment))
        money = counted.money.get(lines[row.pk].key)
        known = max(spent[row.pk], usd_of(money.spent)) if money else spent[row.pk]
        reserved = usd_of(money.reserved) if money else (Decimal(0) if counted.complete else None)
        left = max(Decimal(0), row.amount - known - (reserved or 0))
        found[row.pk] = BudgetStanding(known, reserved, left, _instant(period.starts_ms), _instant(period.ends_ms))
    return found


def of_limits(rows: Sequence[RateLimit]) -> dict[str, LimitStanding]:
    """By id; one question to Redis for each tenant at most."""
    limits = {
        (row.pk, name): Limit(keys_of(row)[name], KINDS[name], amount, row.scope)
        for row in rows
        for name in AMOUNTS
        if (amount := getattr(row, name)) is not None
    }
    counted = _look(list(limits.values()), ())
    found = {row.pk: LimitStanding({}) for row in rows}
    for (pk, name), limit in limits.items():
        used = counted.used.get(limit.key, 0 if counted.complete else None)
        found[pk].used[name] = used if used is None or limit.kind == "parallel" else -(-used // MINUTE_MS)
    return found


# --- What is counted ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Counted:
    used: dict[str, int] = field(default_factory=dict)
    money: dict[str, Money] = field(default_factory=dict)
    complete: bool = True  # what is not in it was not used

    def take(self, limits: Sequence[Limit], lines: Sequence[BudgetLine], standing: Standing) -> None:
        self.used |= {limit.key: used for limit, used in zip(limits, standing.used, strict=True)}
        for line, money in zip(lines, standing.money, strict=True):
            if money is not None:
                self.money[line.key] = money


def _look(limits: Sequence[Limit], lines: Sequence[BudgetLine]) -> _Counted:
    counted = _Counted()
    if settings.REDIS_URL:
        _look_in_redis(limits, lines, counted)
    elif not counts_alone():
        counted.complete = False
    elif (counters := local()) is not None:
        counted.take(limits, lines, counters.standing(limits, lines, now=time.time()))
    return counted


def _look_in_redis(limits: Sequence[Limit], lines: Sequence[BudgetLine], counted: _Counted) -> None:
    """Of each tenant by itself, whose keys are in one slot of a cluster."""
    prefix = f"{settings.REDIS_PREFIX}limits:"
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=WITHIN_S, socket_connect_timeout=WITHIN_S
        ) as client:
            for some_limits, some_lines in _by_tenant(limits, lines):
                keys = look_keys(prefix, some_limits, some_lines, epoch_ms(now()))
                arguments: list[Any] = ["", *look_arguments(some_limits)]
                reply = client.eval(scripts.LOOK.text.decode(), len(keys), *keys, *arguments)
                counted.take(some_limits, some_lines, standing_of(reply, len(some_limits)))
    except redis.RedisError as error:
        counted.complete = False
        logger.warning("limits.standing_unknown", error=type(error).__name__)


def _by_tenant(limits: Iterable[Limit], lines: Iterable[BudgetLine]) -> Iterable[tuple[list[Limit], list[BudgetLine]]]:
    found: dict[str, tuple[list[Limit], list[BudgetLine]]] = defaultdict(lambda: ([], []))
    for limit in limits:
        found[limit.key.partition("}")[0]][0].append(limit)
    for line in lines:
        found[line.key.partition("}")[0]][1].append(line)
    return found.values()


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
