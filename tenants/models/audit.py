"""Who did what, and when."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from core.ids import ID_LENGTH
from tenants.models.tenant import Tenant


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def for_tenant(self, tenant: Tenant | str) -> AuditEventQuerySet:
        return self.filter(tenant_id=tenant.pk if isinstance(tenant, Tenant) else tenant)


class AuditEvent(models.Model):
    """One write, recorded in the transaction that made it. Rows are never changed; they outlive what they name."""

    id = models.BigAutoField(primary_key=True)
    action = models.CharField(max_length=64)
    tenant_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="Empty: not about one tenant.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    token_id = models.CharField("token ID", max_length=ID_LENGTH, blank=True)
    actor = models.CharField(max_length=150, help_text="Who, as known at the time.")
    address = models.CharField(max_length=45, blank=True)
    target = models.CharField(max_length=255, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "-created_at"], name="audit_of_tenant"),
            models.Index(fields=["-created_at"], name="audit_newest"),
            models.Index(fields=["action", "-created_at"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"
