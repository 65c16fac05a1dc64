"""By which the gateway's workers notice that what they remember about a tenant is no longer true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.db.models import Count, Max, Sum

from core.ids import ID_LENGTH

EVERYBODY = ""  # stands where a tenant's id would: all of them are concerned

Stamp = tuple[int, int, int]
NEVER: Stamp = (0, 0, 0)


class RoutingChangeQuerySet(models.QuerySet["RoutingChange"]):
    def stamps(self, tenant_ids: Iterable[str]) -> dict[str, Stamp]:
        """What to compare: it differs as soon as a change has become visible, in whatever order they were committed."""
        rows = (
            self.filter(tenant_id__in=list(tenant_ids))
            .order_by()
            .values_list("tenant_id")
            .annotate(Count("id"), Max("id"), Sum("id"))
        )
        return {tenant_id: (count, newest, total) for tenant_id, count, newest, total in rows}


class RoutingChange(models.Model):
    """One change to what a tenant's calls resolve to, written in the transaction that made it.

    Rows are only added, and pruned when they are old: counting a version up in one row per tenant would make writers
    wait for each other's transactions, and lock rows in an order that ends in deadlocks.
    """

    id = models.BigAutoField(primary_key=True)
    tenant_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="Empty: every tenant.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RoutingChangeQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "id"], name="routing_of_tenant"),
            models.Index(fields=["created_at"], name="routing_prune"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id or 'everybody'} #{self.pk}"
