"""Where a tenant's traces go."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from core.fields import SecretField
from core.ids import ID_LENGTH, new_id
from core.secrets import OpenSecret, Owner, unseal
from tenants.models.tenant import Tenant


class LangfuseProject(models.Model):
    """A tenant's project in Langfuse. Its two keys are one secret, `public:secret`, sealed for the host's origin."""

    PURPOSE = "langfuse"

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="langfuse")
    host = models.CharField(max_length=255)
    secret = SecretField()
    content = models.BooleanField(default=False, help_text="Send what was asked and answered, too.")
    project_id = models.CharField(max_length=100, blank=True)
    project_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "Langfuse project"
        ordering: ClassVar = ["tenant_id"]

    def __str__(self) -> str:
        return self.project_name or self.host

    @property
    def owner(self) -> Owner:
        """Whom its secret is sealed for."""
        return Owner(self.tenant_id, self.id, self.PURPOSE)

    def open_secret(self) -> OpenSecret | None:
        """The keys, ready to be revealed to the host. Raises SecretError."""
        return None if self.secret is None else unseal(self.secret, owner=self.owner)
