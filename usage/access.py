"""The one door to the limits and budgets of tenants: whoever asks gets those of their own tenant, or NotFound."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import QuerySet

from core.errors import NotFound
from core.principal import Principal
from usage.models import Budget, RateLimit
from usage.models.bounds import Bound

Row = TypeVar("Row", bound=Bound)


def rate_limits(principal: Principal, *, scope: str = "read") -> QuerySet[RateLimit]:
    principal.require(scope)
    return RateLimit.objects.for_tenant(principal.tenant_id)


def rate_limit(principal: Principal, pk: str, *, scope: str = "read") -> RateLimit:
    return _one(rate_limits(principal, scope=scope), pk, "rate limit")


def budgets(principal: Principal, *, scope: str = "read") -> QuerySet[Budget]:
    principal.require(scope)
    return Budget.objects.for_tenant(principal.tenant_id).select_related("factory")


def budget(principal: Principal, pk: str, *, scope: str = "read") -> Budget:
    return _one(budgets(principal, scope=scope), pk, "budget")


def _one(rows: QuerySet[Row], pk: str, what: str) -> Row:
    row = None if "\0" in pk else rows.filter(pk=pk).first()  # PostgreSQL fails on a NUL
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row
