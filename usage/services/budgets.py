"""Budgets: the only place that writes them, and what the gateway keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypedDict, Unpack

from django.db import IntegrityError, transaction

from core import audit
from core.audit import Actor
from core.clock import epoch_ms, now
from core.errors import Conflict, InvalidInput
from providers.models import LLMFactory
from providers.services.statuses import check_status
from tenants.models import ApiToken, Tenant
from tenants.services import routing
from usage.admission import BudgetLine, period_at, units_of
from usage.models import Budget, BudgetPeriod
from usage.models.budgets import MAX_AMOUNT
from usage.services.bounds import check_token, differences, fresh, locked
from usage.services.spending import spent_now

STEP = Decimal("1e-10")


class Changes(TypedDict, total=False):
    amount: Decimal
    blocks: bool
    allow_unpriced: bool
    status: str


@transaction.atomic
def create(
    *,
    tenant: Tenant,
    amount: Decimal,
    period: str = BudgetPeriod.MONTH,
    token: ApiToken | None = None,
    factory: LLMFactory | None = None,
    blocks: bool = True,
    allow_unpriced: bool = False,
    set_by_staff: bool = False,
    actor: Actor,
) -> Budget:
    """A new budget in USD: of the tenant, one of its tokens, or its calls to one factory.

    Raises InvalidInput, NotFound, or Conflict if there is one of this scope and period.
    """
    tenant = locked(tenant.pk)
    check_token(tenant, token)
    if token is not None and factory is not None:
        raise InvalidInput(
            "A budget is of a token or of a factory.", fields={"factory": ["Not together with a token."]}
        )
    if period not in BudgetPeriod.values:
        raise InvalidInput("Unknown period.", fields={"period": [f"One of {', '.join(BudgetPeriod.values)}."]})
    row = Budget(
        tenant=tenant,
        token=token,
        factory=factory,
        amount=checked_amount(amount),
        period=period,
        blocks=blocks,
        allow_unpriced=allow_unpriced,
        set_by_staff=set_by_staff,
    )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict(f"There is a budget a {period} for {row.scope} already.", hint="Change that one.") from error
    _record("budget.created", row, actor, budget=str(row), blocks=blocks, set_by_staff=set_by_staff)
    return row


@transaction.atomic
def update(budget: Budget, *, actor: Actor, as_staff: bool = False, **changes: Unpack[Changes]) -> Budget:
    """Change what is given. Raises InvalidInput, NotFound, or Forbidden for a ceiling of staff."""
    row = fresh(budget, as_staff=as_staff)
    if "amount" in changes:
        changes["amount"] = checked_amount(changes["amount"])
    if (status := changes.get("status")) is not None:
        check_status(status)
    changed = differences(row, changes)
    if changed:
        for name, value in changes.items():
            setattr(row, name, value)
        row.save(update_fields=[*changed, "updated_at"])
        _record("budget.updated", row, actor, changes=changed)
    return row


@transaction.atomic
def delete(budget: Budget, *, actor: Actor, as_staff: bool = False) -> None:
    """Remove a budget. Raises NotFound, or Forbidden for a ceiling of staff."""
    row = fresh(budget, as_staff=as_staff)
    _record("budget.deleted", row, actor, budget=str(row))
    row.delete()


@transaction.atomic
def recount(budget: Budget, *, actor: Actor, as_staff: bool = False) -> Budget:
    """Let every process forget what it counted, and start from the database's sums: after costs were corrected."""
    row = fresh(budget, as_staff=as_staff)
    row.revision += 1
    row.save(update_fields=["revision", "updated_at"])
    _record("budget.recounted", row, actor, budget=str(row))
    return row


def checked_amount(amount: Decimal | str | int) -> Decimal:
    """The amount as a Decimal that the database keeps exactly; raises InvalidInput."""
    try:
        value = Decimal(amount)
        exact = value.is_finite() and value == value.quantize(STEP)
    except (InvalidOperation, ValueError, TypeError):
        exact = False
    if not exact or not 0 < value <= MAX_AMOUNT:
        raise InvalidInput(
            "The amount of the budget is not valid.",
            fields={"amount": [f"More than 0, at most {MAX_AMOUNT:,} USD, with at most ten decimal places."]},
        )
    return value


def _record(action: str, row: Budget, actor: Actor, **detail: Any) -> None:
    routing.bump(row.tenant_id)
    audit.record(
        action,
        actor=actor,
        tenant_id=row.tenant_id,
        target=row.scope,
        budget_id=row.pk,
        token_id=row.token_id,
        **detail,
    )


# --- What the gateway keeps -----------------------------------------------------------------------------------------


def lines_for(tenant_id: str) -> list[tuple[Budget, BudgetLine]]:
    """The budgets of a tenant that are in force, with what is spent of each; four queries at most."""
    rows = list(Budget.objects.for_tenant(tenant_id).in_force().select_related("factory").order_by("id"))
    moment = now()
    spent = spent_now(rows, at=moment)
    return [(row, line_of(row, spent[row.pk], at_ms=epoch_ms(moment))) for row in rows]


def line_of(row: Budget, spent: Decimal, *, at_ms: int) -> BudgetLine:
    """A budget as it is counted, with what was spent in the period that runs at that instant."""
    return BudgetLine(
        key=f"{{{row.tenant_id}}}:budget:{row.pk}:{row.revision}",
        budget_id=row.pk,
        amount_units=units_of(row.amount),
        period="day" if row.period == BudgetPeriod.DAY else "month",
        scope=row.scope,
        blocks=row.blocks,
        allows_unpriced=row.allow_unpriced,
        spent_units=units_of(spent),
        spent_in=period_at(row.period, at_ms).label,
    )


def spent_of_lines(lines: Sequence[BudgetLine]) -> dict[str, int]:
    """What the database says was spent in the running period of these budgets: units by the line's key."""
    rows = Budget.objects.filter(pk__in=[line.budget_id for line in lines]).select_related("factory")
    spent = spent_now(list(rows), at=now())
    return {line.key: units_of(spent[line.budget_id]) for line in lines if line.budget_id in spent}
