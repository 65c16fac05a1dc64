"""When a service came and went, and what was seen of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from core.clock import now
from runtimes.models.service import Health, LLMService


class ServiceEvent(models.Model):
    """A transition of a service's health."""

    service = models.ForeignKey(LLMService, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=now)
    before = models.CharField(max_length=8, choices=Health.choices)
    after = models.CharField(max_length=8, choices=Health.choices)
    reason = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [models.Index(fields=["service", "-at"], name="service_event_newest")]

    def __str__(self) -> str:
        return f"{self.service_id}: {self.before} → {self.after}"
