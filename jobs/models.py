"""Tracked background work. What a user sees is a row of this table, never the task queue's own state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models

from core.ids import ID_LENGTH, new_id


class JobState(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


ACTIVE = (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED)
FINISHED = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT)


class JobQuerySet(models.QuerySet["Job"]):
    def for_tenant(self, tenant_id: str) -> JobQuerySet:
        return self.filter(tenant_id=tenant_id)

    def active(self) -> JobQuerySet:
        return self.filter(state__in=ACTIVE)

    def due(self, at: datetime) -> JobQuerySet:
        """Pending, and not put off until later."""
        waited = models.Q(run_after__isnull=True) | models.Q(run_after__lte=at)
        return self.filter(waited, state=JobState.PENDING)

    def abandoned(self, *, before: datetime) -> JobQuerySet:
        """Said to be running, but nobody has confirmed it since `before`."""
        return self.filter(state=JobState.RUNNING, heartbeat_at__lt=before)

    def finished_before(self, moment: datetime) -> JobQuerySet:
        return self.filter(state__in=FINISHED, finished_at__lt=moment)


class Job(models.Model):
    """One piece of work: `params` says what (ids and plain values, no secret), `result` and `error` how it ended."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    type = models.CharField(max_length=64)
    params = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=12, choices=JobState.choices, default=JobState.PENDING)
    progress = models.PositiveSmallIntegerField(default=0)
    progress_detail = models.JSONField(
        default=dict, blank=True, help_text="done_bytes, total_bytes, rate_bytes_per_s, eta_s, step: those known."
    )
    progress_at = models.DateTimeField(null=True, blank=True)
    message = models.CharField(max_length=255, blank=True)
    result = models.JSONField(default=dict, blank=True)
    error = models.JSONField(default=dict, blank=True, help_text="code, message, hint")
    checkpoint = models.JSONField(default=dict, blank=True, help_text="Where a retry goes on.")
    tenant_id = models.CharField(max_length=ID_LENGTH, blank=True, help_text="Empty: a job of the installation.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    queue = models.CharField(max_length=16, default="default")
    dedupe_key = models.CharField(max_length=200, blank=True, help_text="While it is active, its twins join it.")
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    timeout_s = models.PositiveIntegerField(default=600)
    lease = models.CharField(max_length=32, blank=True, help_text="Held by the one worker that may finish it.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    suspend_requested_at = models.DateTimeField(null=True, blank=True)
    run_after = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["tenant_id", "-created_at"], name="job_of_tenant"),
            models.Index(fields=["state", "heartbeat_at"], name="job_sweep"),
            models.Index(fields=["-created_at"], name="job_newest"),
            models.Index(fields=["queue", "state", "created_at"], name="job_next"),
            models.Index(
                fields=["queue", "-started_at"], name="job_turns", condition=models.Q(started_at__isnull=False)
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(progress__lte=100), name="job_progress_percent"),
            models.CheckConstraint(condition=models.Q(state__in=JobState.values), name="job_state_known"),
            models.UniqueConstraint(
                fields=["type", "tenant_id", "dedupe_key"],
                condition=models.Q(state__in=ACTIVE) & ~models.Q(dedupe_key=""),
                name="job_once_while_active",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def duration(self) -> timedelta | None:
        return self.finished_at - self.started_at if self.finished_at and self.started_at else None


class JobRequest(models.Model):
    """A request for a job that carried an idempotency key: asked again, it finds the same job."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    tenant_id = models.CharField(max_length=ID_LENGTH, blank=True)
    key = models.CharField(max_length=128)
    digest = models.CharField(max_length=64, help_text="Of what was asked for.")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="requests")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "tenant_id", "key"], name="job_request_once"),
        ]

    def __str__(self) -> str:
        return self.key


class JobEvent(models.Model):
    """A state that a job came into, and why: its history, of which the newest part is kept."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=JobState.choices)
    message = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.state} {self.message}".strip()


class WorkerHeartbeat(models.Model):
    """When a worker last did something, by which /readyz knows that jobs are being done."""

    name = models.CharField(primary_key=True, max_length=128)
    seen_at = models.DateTimeField()
    queues = models.JSONField(default=list, blank=True, help_text="Those that it serves; empty: not known.")

    def __str__(self) -> str:
        return self.name
