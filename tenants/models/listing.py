"""The models that an upstream listed for a credential, as they were last asked for."""

from __future__ import annotations

from django.db import models

from core.clock import now
from jobs.models import Job
from tenants.models.credential import Credential


class ModelListing(models.Model):
    """One for each credential, replaced by the next. `entries` holds what `tenants.services.discovery` writes: names,
    types and features, in the upstream's order; never a secret."""

    credential = models.OneToOneField(Credential, primary_key=True, on_delete=models.CASCADE, related_name="listing")
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="+")
    version = models.CharField(max_length=16, help_text="Of the credential that was asked with.")
    entries = models.JSONField(default=list)
    complete = models.BooleanField(default=True, help_text="Whether the upstream's list was read to its end.")
    listed_at = models.DateTimeField(default=now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{len(self.entries)} models of {self.credential_id}"
