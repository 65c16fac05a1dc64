"""What was spent of budgets, as the books say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Q, Sum

from usage.models import Budget, BudgetPeriod, UsageDaily
from usage.services.bounds import ancestors_of

ZERO = Decimal(0)
Periods = tuple[Decimal, Decimal]  # today, and this month


def spent(budget: Budget, *, at: datetime) -> Decimal:
    """What was spent in the period of the budget that ran at that instant, in USD."""
    return spent_now([budget], at=at)[budget.pk]


def spent_now(budgets: Sequence[Budget], *, at: datetime) -> dict[str, Decimal]:
    """The same for many, by id; three queries at most. Calls with tokens that a token made count as its own."""
    today = at.date()
    of_tokens = [budget for budget in budgets if budget.token_id]
    others = [budget for budget in budgets if not budget.token_id]
    found = {budget.pk: ZERO for budget in budgets}
    by_token = _spent_with_tokens(of_tokens, today)
    for budget in of_tokens:
        found[budget.pk] = _of_period(budget, by_token.get(str(budget.token_id), (ZERO, ZERO)))
    by_factory = _spent_by_tenants(others, today)
    for budget in others:
        rows = by_factory.get(budget.tenant_id, {})
        of = [budget.factory.name] if budget.factory else list(rows)
        found[budget.pk] = sum((_of_period(budget, rows[name]) for name in of if name in rows), ZERO)
    return found


def _spent_by_tenants(budgets: Sequence[Budget], today: date) -> dict[str, dict[str, Periods]]:
    """By tenant and factory; by tenant alone, under "", where no budget asks for a factory."""
    if not budgets:
        return {}
    by_factory = any(budget.factory_id for budget in budgets)
    rows = UsageDaily.objects.filter(tenant_id__in={budget.tenant_id for budget in budgets})
    found: dict[str, dict[str, Periods]] = defaultdict(dict)
    for tenant_id, *of, month, day in _sums(rows, budgets, today, "tenant_id", *(["factory"] if by_factory else [])):
        found[tenant_id][of[0] if of else ""] = (day or ZERO, month or ZERO)
    return found


def _spent_with_tokens(budgets: Sequence[Budget], today: date) -> dict[str, Periods]:
    """By token, with the tokens that it made."""
    if not budgets:
        return {}
    wanted = {str(budget.token_id) for budget in budgets}
    tenants = {budget.tenant_id for budget in budgets}
    counts_for: dict[str, list[str]] = {token: [token] for token in wanted}
    for token, chain in ancestors_of(tenants).items():
        if bounded := [one for one in chain if one in wanted]:
            counts_for.setdefault(token, []).extend(bounded)
    rows = UsageDaily.objects.filter(tenant_id__in=tenants, token_id__in=list(counts_for))
    found: dict[str, Periods] = {}
    for token, month, day in _sums(rows, budgets, today, "token_id"):
        for counted in counts_for[token]:
            before = found.get(counted, (ZERO, ZERO))
            found[counted] = (before[0] + (day or ZERO), before[1] + (month or ZERO))
    return found


def _sums(rows: Any, budgets: Sequence[Budget], today: date, *by: str) -> Any:
    """One row a group: the group, this month, today."""
    monthly = any(budget.period == BudgetPeriod.MONTH for budget in budgets)
    rows = rows.between(today.replace(day=1) if monthly else today, today).order_by()
    return rows.values_list(*by).annotate(in_month=Sum("cost"), in_day=Sum("cost", filter=Q(day=today)))


def _of_period(budget: Budget, spent: Periods) -> Decimal:
    return spent[0] if budget.period == BudgetPeriod.DAY else spent[1]
