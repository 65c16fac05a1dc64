"""How much money a tenant, a token or a factory may cost in a day or a month."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q

from providers.models import LLMFactory
from usage.admission import MAX_UNITS, UNITS_PER_USD
from usage.models.bounds import Bound, BoundQuerySet, once
from usage.models.fields import MoneyField

MAX_AMOUNT = Decimal(MAX_UNITS // UNITS_PER_USD)
_SCOPE = "budget of this scope and period"


class BudgetPeriod(models.TextChoices):
    """In UTC."""

    DAY = "day"
    MONTH = "month"


class Budget(Bound):
    """Bounds what the calls of a tenant, of one of its tokens, or to one factory may cost in a calendar period."""

    factory = models.ForeignKey(
        LLMFactory,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="budgets",
        help_text="Empty: calls to all factories together.",
    )
    amount = MoneyField("amount in USD")
    period = models.CharField(max_length=8, choices=BudgetPeriod.choices, default=BudgetPeriod.MONTH)
    blocks = models.BooleanField(default=True, help_text="Refuse calls beyond it. Off: only watch it and alert.")
    allow_unpriced = models.BooleanField(
        "allow unpriced models",
        default=False,
        help_text="Let models be called whose price is not known; their calls count as nothing. Off: refuse them.",
    )
    revision = models.PositiveIntegerField(default=0, editable=False, help_text="How often it was counted anew.")

    objects: ClassVar[BoundQuerySet[Budget]] = BoundQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            once("budget_of_tenant_once", _SCOPE, "tenant", "period", condition=Q(token=None, factory=None)),
            once("budget_of_token_once", _SCOPE, "token", "period", condition=Q(token__isnull=False)),
            once("budget_of_factory_once", _SCOPE, "tenant", "factory", "period", condition=Q(factory__isnull=False)),
            models.CheckConstraint(
                condition=Q(token=None) | Q(factory=None),
                name="budget_of_a_token_or_a_factory",
                violation_error_message="A budget is of a token or of a factory, not of both.",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=Decimal(0), amount__lte=MAX_AMOUNT),
                name="budget_amount_sensible",
                violation_error_message="More than 0, and at most 100,000,000 USD.",
            ),
            models.CheckConstraint(condition=Q(period__in=BudgetPeriod.values), name="budget_period_known"),
        ]

    def __str__(self) -> str:
        return f"{self.amount.normalize():,f} USD a {self.period}"

    @property
    def scope(self) -> str:
        """Whom it bounds, as messages to the caller say it."""
        if self.token_id:
            return "this token"
        return f"the factory {self.factory.name}" if self.factory else "this tenant"


class BudgetAlert(models.Model):
    """A part of a budget that was spent, recorded once a period for each amount that the budget had."""

    id = models.BigAutoField(primary_key=True)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="alerts")
    period = models.CharField(max_length=10, help_text="2026-11-20 or 2026-11.")
    percent = models.PositiveSmallIntegerField()
    amount = MoneyField("of an amount in USD")
    spent = MoneyField("spent in USD")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["budget", "period", "percent", "amount"], name="budget_alert_once"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % in {self.period}"
