"""Tests of credentials, kept as history."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from jobs.models import Job
from providers.fields import TYPE_CHOICES
from providers.models import LLMFactory
from tenants.models.credential import VERDICT_CHOICES, Credential
from tenants.models.tenant import Tenant


class ProbeQuerySet(models.QuerySet["Probe"]):
    def for_tenant(self, tenant: Tenant | str) -> ProbeQuerySet:
        return self.filter(tenant=tenant)

    def billed_since(self, moment: datetime) -> ProbeQuerySet:
        return self.filter(billed=True, created_at__gte=moment)


class Probe(models.Model):
    """One call made to test one (credential, model, type), and its verdict.

    A free call that tests the credential as a whole (listing models) has no model and no type. A probe outlives the
    draft that it rejected: `credential` is then empty, factory and label still say what was tried.
    """

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="probes")
    credential = models.ForeignKey(Credential, null=True, on_delete=models.SET_NULL, related_name="probes")
    factory = models.ForeignKey(LLMFactory, on_delete=models.CASCADE, related_name="probes")
    job = models.ForeignKey(Job, null=True, on_delete=models.SET_NULL, related_name="probes")
    llm_name = models.CharField("model", max_length=160, blank=True)
    model_type = models.CharField(max_length=16, choices=TYPE_CHOICES, blank=True)
    verdict = models.CharField(max_length=16, choices=VERDICT_CHOICES)
    step = models.CharField(
        max_length=32, help_text="How far it came: dns, connect, tls, headers, body, list_models, …"
    )
    http_status = models.PositiveSmallIntegerField("HTTP status", null=True, blank=True)
    latency_ms = models.PositiveIntegerField("latency in ms", null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    hint = models.CharField(max_length=500, blank=True)
    billed = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProbeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["credential", "-created_at"], name="probe_of_credential"),
            models.Index(fields=["tenant", "-created_at"], name="probe_of_tenant"),
            models.Index(fields=["billed", "created_at"], name="probe_budget"),
        ]

    def __str__(self) -> str:
        return f"{self.llm_name or 'list models'}: {self.verdict}"
