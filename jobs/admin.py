"""Background work, watched while it runs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse

from core.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    ModelAdmin,
    RangeDateTimeFilter,
    ReadOnly,
    actor_of,
    badge,
    display,
    json_text,
    link,
    object_action,
)
from jobs.models import FINISHED, Job, JobState
from jobs.services import queue

STATE_KINDS = {
    JobState.RUNNING: "info",
    JobState.COMPLETED: "success",
    JobState.FAILED: "danger",
    JobState.TIMED_OUT: "danger",
    JobState.CANCELLED: "warning",
}
RETRIABLE = (JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED)


class JobTypeFilter(DropdownFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name.replace("_", " ")) for name in settings.JOB_HANDLERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(ReadOnly, ModelAdmin):
    list_display = ("created_at", "kind", "status", "tenant", "created_by", "attempts", "took")
    list_display_links = ("created_at", "kind")
    list_select_related = ("created_by",)
    list_filter = (("state", ChoicesDropdownFilter), JobTypeFilter, ("created_at", RangeDateTimeFilter))
    search_fields = ("=id", "=tenant_id", "type")
    ordering = ("-id",)
    actions = ("cancel_selected", "retry_selected")
    object_actions = ("cancel", "retry")
    pollable = True
    fieldsets = (
        (None, {"fields": ("kind", "status", "tenant", "created_by", "params_shown")}),
        ("Outcome", {"fields": ("result_shown", "error_shown", "checkpoint_shown")}),
        (
            "Times",
            {
                "fields": ("created_at", "run_after", "started_at", "heartbeat_at", "finished_at", "took"),
            },
        ),
        ("Attempts", {"fields": ("attempts", "max_attempts", "timeout_s", "idempotency_key", "id")}),
    )

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("jobs.change_job"))

    @display(description="type", ordering="type")
    def kind(self, job: Job) -> str:
        return job.type.replace("_", " ")

    @display(description="state", ordering="state")
    def status(self, job: Job) -> str:
        return render_to_string("llmadmin/live.html", _watched(job))

    @display(description="tenant")
    def tenant(self, job: Job) -> str:
        if not job.tenant_id:
            return "–"
        try:
            return link(reverse("admin:tenants_tenant_change", args=[job.tenant_id]), f"{job.tenant_id[:8]}…")
        except NoReverseMatch:
            return job.tenant_id

    @display(description="params")
    def params_shown(self, job: Job) -> str:
        return json_text(job.params)

    @display(description="result")
    def result_shown(self, job: Job) -> str:
        return json_text(job.result)

    @display(description="error")
    def error_shown(self, job: Job) -> str:
        return json_text(job.error)

    @display(description="checkpoint")
    def checkpoint_shown(self, job: Job) -> str:
        return json_text(job.checkpoint)

    @display(description="took")
    def took(self, job: Job) -> str:
        return "–" if job.duration is None else f"{job.duration.total_seconds():.1f} s"

    def live_items(self, request: HttpRequest, keys: list[str]) -> dict[str, dict[str, Any]]:
        jobs = self.get_queryset(request).filter(pk__in=keys)
        return {job.pk: {"html": state_html(job), "finished": job.is_finished} for job in jobs}

    @object_action(
        label="Cancel",
        icon="cancel",
        permission="operate",
        variant="danger",
        when=lambda job: job.state not in FINISHED,
    )
    def cancel(self, request: HttpRequest, job: Job) -> None:
        stopped = queue.cancel(job, actor=actor_of(request))
        self.message_user(request, "Cancelled." if stopped.is_finished else "It stops at its next step.")

    @object_action(label="Retry", icon="replay", permission="operate", when=lambda job: job.state in RETRIABLE)
    def retry(self, request: HttpRequest, job: Job) -> None:
        queue.retry(job, actor=actor_of(request))
        self.message_user(request, "Queued again.")

    @admin.action(description="Cancel", permissions=["operate"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        jobs = [job for job in queryset if not job.is_finished]
        for job in jobs:
            queue.cancel(job, actor=actor_of(request))
        self.message_user(request, f"{len(jobs)} cancelled; running ones stop at their next step.")

    @admin.action(description="Retry", permissions=["operate"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        jobs = [job for job in queryset if job.state in RETRIABLE]
        for job in jobs:
            queue.retry(job, actor=actor_of(request))
        self.message_user(request, f"{len(jobs)} queued again.")


def _watched(job: Job) -> dict[str, Any]:
    return {"key": job.pk, "job": job, "html": state_html(job), "url": reverse("admin:jobs_job_live")}


def state_html(job: Job) -> str:
    """State, progress and message, as the list and the page show them."""
    label = badge(job.get_state_display(), STATE_KINDS.get(JobState(job.state), ""))
    return render_to_string("llmadmin/job_state.html", {"job": job, "badge": label})
