"""What limits and budgets have in common: whom they bound, and who set them."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from django.db import models
from django.db.models import Q

from core.ids import ID_LENGTH, new_id
from providers.models import STATUS_CHOICES, VALID
from tenants.models import ApiToken, Tenant

Row = TypeVar("Row", bound="Bound")


class BoundQuerySet(models.QuerySet[Row]):
    def for_tenant(self, tenant: Tenant | str) -> BoundQuerySet[Row]:
        return self.filter(tenant=tenant)

    def in_force(self) -> BoundQuerySet[Row]:
        """Enabled, and not for a token that was revoked."""
        return self.filter(Q(token=None) | Q(token__revoked_at=None), status=VALID)


class Bound(models.Model):
    """Bounds the calls of a tenant, or those of one of its tokens.

    One that was set by staff is a ceiling: the tenant's own people see it, and can only set a lower one beside it.
    """

    id = models.CharField("ID", primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="%(class)ss")
    token = models.ForeignKey(
        ApiToken,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="%(class)ss",
        verbose_name="API token",
        help_text="Empty: all calls of the tenant together.",
    )
    set_by_staff = models.BooleanField(
        default=False, help_text="A ceiling: the tenant's own people cannot change or delete it."
    )
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[Any] = BoundQuerySet.as_manager()

    class Meta:
        abstract = True


def once(name: str, scope: str, *fields: str, condition: Q) -> models.UniqueConstraint:
    """One bound of a scope, which `fields` tell apart; staff's and the tenant's own are two."""
    return models.UniqueConstraint(
        fields=[*fields, "set_by_staff"],
        condition=condition,
        name=name,
        violation_error_message=f"There is a {scope} already: change that one.",
    )
