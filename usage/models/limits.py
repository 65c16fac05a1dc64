"""How much a tenant, a token or a model may be called in a minute, and at a time."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from usage.admission import MAX_AMOUNT
from usage.models.bounds import Bound, BoundQuerySet, once

MODEL_LENGTH = 160 + 1 + 128  # name@factory; service~model is shorter
_SCOPE = "limit of this scope"
AMOUNTS = ("requests_per_minute", "tokens_per_minute", "parallel")


class RateLimit(Bound):
    """Bounds a tenant, one of its tokens, one model (as it is called), or a token's use of a model; empty is no limit.

    A call is bound by all that apply to it.
    """

    model = models.CharField(
        max_length=MODEL_LENGTH,
        blank=True,
        help_text="name@factory or service~model. Empty: calls of all models together.",
    )
    requests_per_minute = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: no limit.")
    tokens_per_minute = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="What goes in and what comes out. Empty: no limit."
    )
    parallel = models.PositiveBigIntegerField(
        "calls at a time", null=True, blank=True, help_text="Calls that run at the same time. Empty: no limit."
    )

    objects: ClassVar[BoundQuerySet[RateLimit]] = BoundQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            once("limit_of_tenant_once", _SCOPE, "tenant", "model", condition=Q(token=None)),
            once("limit_of_token_once", _SCOPE, "token", "model", condition=Q(token__isnull=False)),
            models.CheckConstraint(
                condition=Q(requests_per_minute__isnull=False)
                | Q(tokens_per_minute__isnull=False)
                | Q(parallel__isnull=False),
                name="limit_limits_something",
                violation_error_message="A limit needs at least one number.",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gte": 1, f"{name}__lte": MAX_AMOUNT}),
                    name=f"limit_{name}_sensible",
                )
                for name in AMOUNTS
            ),
        ]

    def __str__(self) -> str:
        amounts = {
            "requests per minute": self.requests_per_minute,
            "tokens per minute": self.tokens_per_minute,
            "at a time": self.parallel,
        }
        return ", ".join(f"{amount:,} {what}" for what, amount in amounts.items() if amount is not None)

    @property
    def scope(self) -> str:
        """Whom it bounds, as messages to the caller say it."""
        whom = "this token" if self.token_id else "this tenant"
        if not self.model:
            return whom
        return f"{whom} and the model {self.model}" if self.token_id else f"the model {self.model}"
