"""Rate limits: the only place that writes them, and what the gateway keeps of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, TypedDict, Unpack

from django.db import IntegrityError, transaction

from core import audit
from core.audit import Actor
from core.errors import Conflict, InvalidInput
from providers.services.statuses import check_status
from runtimes.models import ServiceModel
from tenants.models import ApiToken, Tenant, TenantLLM
from tenants.services import routing
from usage.admission import MAX_AMOUNT, BudgetOf, Limit, LimitKind, LimitLine, Lines, applying
from usage.models import RateLimit
from usage.models.limits import AMOUNTS
from usage.services import budgets
from usage.services.bounds import ancestors_of, check_token, differences, fresh, locked

__all__ = ["applying", "create", "delete", "keys_of", "lines_for", "update"]

KINDS: Final[dict[str, LimitKind]] = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "parallel": "parallel",
}


class Amounts(TypedDict, total=False):
    """Whole numbers from 1; None for no limit."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    parallel: int | None


class Changes(Amounts, total=False):
    status: str


@transaction.atomic
def create(
    *,
    tenant: Tenant,
    token: ApiToken | None = None,
    model: str = "",
    set_by_staff: bool = False,
    actor: Actor,
    **amounts: Unpack[Amounts],
) -> RateLimit:
    """A new limit: of the tenant, a token, a model (`name@factory` or `service~name`), or a token's use
    of a model.

    Raises InvalidInput, NotFound, or Conflict if there is one of this scope.
    """
    tenant = locked(tenant.pk)
    check_token(tenant, token)
    row = RateLimit(tenant=tenant, token=token, model=_checked_model(tenant, model), set_by_staff=set_by_staff)
    for name, amount in amounts.items():
        setattr(row, name, amount)
    _check(row)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict(f"There is a limit for {row.scope} already.", hint="Change that one.") from error
    _record("limit.created", row, actor, limits=str(row), set_by_staff=set_by_staff)
    return row


@transaction.atomic
def update(limit: RateLimit, *, actor: Actor, as_staff: bool = False, **changes: Unpack[Changes]) -> RateLimit:
    """Change what is given; None lifts a limit. Raises InvalidInput, NotFound, or Forbidden for a ceiling of staff."""
    row = fresh(limit, as_staff=as_staff)
    if (status := changes.get("status")) is not None:
        check_status(status)
    changed = differences(row, changes)
    if changed:
        for name, value in changes.items():
            setattr(row, name, value)
        _check(row)
        row.save(update_fields=[*changed, "updated_at"])
        _record("limit.updated", row, actor, changes=changed)
    return row


@transaction.atomic
def delete(limit: RateLimit, *, actor: Actor, as_staff: bool = False) -> None:
    """Lift a limit for good. Raises NotFound, or Forbidden for a ceiling of staff."""
    row = fresh(limit, as_staff=as_staff)
    _record("limit.deleted", row, actor, limits=str(row))
    row.delete()


def _check(row: RateLimit) -> None:
    amounts = {name: getattr(row, name) for name in AMOUNTS}
    wrong = {
        name: [f"A whole number from 1 to {MAX_AMOUNT}, or nothing."]
        for name, amount in amounts.items()
        if amount is not None and (type(amount) is not int or not 1 <= amount <= MAX_AMOUNT)
    }
    if wrong:
        raise InvalidInput("The limit is not described correctly.", fields=wrong)
    if all(amount is None for amount in amounts.values()):
        raise InvalidInput(
            "A limit needs at least one number.",
            hint="To lift a limit, delete or disable it.",
            fields={"requests_per_minute": ["One of the three is needed."]},
        )


def _checked_model(tenant: Tenant, name: str) -> str:
    """The name, if it is one of the tenant's models or none; raises InvalidInput."""
    name = name.strip()
    llm_name, at, factory = name.rpartition("@")
    if not name:
        return ""
    service, tilde, served = name.partition("~")
    rows = TenantLLM.objects.for_tenant(tenant).saved()
    if "\0" not in name and at and rows.filter(llm_name=llm_name, factory__name=factory).exists():
        return name
    services = ServiceModel.objects.for_tenant(tenant.pk)
    if "\0" not in name and tilde and services.filter(service__name=service, name=served).exists():
        return name
    raise InvalidInput(
        "The tenant has no such model.",
        fields={"model": ["A model of the tenant, as name@factory, or of a service, as service~name."]},
    )


def _record(action: str, row: RateLimit, actor: Actor, **detail: Any) -> None:
    routing.bump(row.tenant_id)
    about = {"limit_id": row.pk, "token_id": row.token_id, **detail}
    audit.record(action, actor=actor, tenant_id=row.tenant_id, target=row.scope, **about)


# --- What the gateway keeps -----------------------------------------------------------------------------------------


def lines_for(tenant_id: str) -> Lines:
    """All limits and budgets of a tenant that are in force; five queries at most.

    Of several limits of one kind and scope the lowest is kept: what it admits, the others do.
    """
    lowest: dict[tuple[str, str, str], tuple[RateLimit, int]] = {}
    for row in RateLimit.objects.for_tenant(tenant_id).in_force().order_by("id"):
        for name in AMOUNTS:
            amount = getattr(row, name)
            scope = (row.token_id or "", row.model, name)
            if amount is not None and (scope not in lowest or amount < lowest[scope][1]):
                lowest[scope] = (row, amount)
    limits: dict[str, list[LimitLine]] = defaultdict(list)
    for (token_id, model, name), (row, amount) in lowest.items():
        limits[token_id].append(LimitLine(model, Limit(keys_of(row)[name], KINDS[name], amount, row.scope)))
    money: dict[str, list[BudgetOf]] = defaultdict(list)
    for budget, line in budgets.lines_for(tenant_id):
        money[budget.token_id or ""].append(BudgetOf(budget.factory.name if budget.factory else "", line))
    bounded = {*limits, *money} - {""}
    ancestors = ancestors_of([tenant_id]) if bounded else {}
    return Lines(
        {token: tuple(found) for token, found in limits.items()},
        {token: tuple(found) for token, found in money.items()},
        {token: kept for token, chain in ancestors.items() if (kept := tuple(one for one in chain if one in bounded))},
    )


def keys_of(row: RateLimit) -> dict[str, str]:
    """By which each of its numbers is counted; all keys of a tenant are in one slot of a Redis cluster."""
    scope = f"token:{row.token_id}" if row.token_id else "tenant"
    if row.model:
        scope += f":model:{row.model}"
    return {name: f"{{{row.tenant_id}}}:{scope}:{kind}" for name, kind in KINDS.items()}
