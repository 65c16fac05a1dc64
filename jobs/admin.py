"""Background work, watched while it runs."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse

from core.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    ModelAdmin,
    RangeDateTimeFilter,
    ReadOnly,
    TextFilter,
    actor_of,
    badge,
    display,
    json_text,
    link,
    object_action,
)
from jobs.models import FINISHED, Job, JobState
from jobs.services import history, queue, types

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
        return [(known.id, kind_text(known.id)) for known in types.all_types()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class JobQueueFilter(DropdownFilter):
    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in settings.JOB_QUEUES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(queue=self.value()) if self.value() else queryset


class JobTenantFilter(TextFilter):
    title = "tenant (its id)"
    parameter_name = "tenant"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(tenant_id=self.value().strip()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(ReadOnly, ModelAdmin):
    list_display = ("created_at", "kind", "about", "status", "tenant", "created_by", "attempts", "took")
    list_display_links = ("created_at", "kind")
    list_select_related = ("created_by",)
    list_filter = (
        ("state", ChoicesDropdownFilter),
        *(JobTypeFilter, JobQueueFilter, JobTenantFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("=id", "=tenant_id", "type")
    ordering = ("-id",)
    actions = ("cancel_selected", "retry_selected", "suspend_selected", "resume_selected")
    object_actions = ("cancel", "suspend", "resume", "retry")
    pollable = True
    fieldsets = (
        (None, {"fields": ("kind", "watched", "tenant", "created_by", "params_shown")}),
        ("Outcome", {"fields": ("result_shown", "error_shown", "checkpoint_shown")}),
        ("History", {"fields": ("history",)}),
        (
            "Times",
            {
                "fields": (
                    "created_at",
                    "run_after",
                    "started_at",
                    "heartbeat_at",
                    "progress_at",
                    "finished_at",
                    "took",
                ),
            },
        ),
        ("Attempts", {"fields": ("attempts", "max_attempts", "timeout_s", "queue", "dedupe_key", "id")}),
    )

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("jobs.change_job"))

    @display(description="type", ordering="type")
    def kind(self, job: Job) -> str:
        return kind_text(job.type)

    @display(description="about")
    def about(self, job: Any) -> str:
        model, service = (job.params.get(name) for name in ("model_name", "service_name"))
        return " on ".join(str(part) for part in (model, service) if part) or getattr(job, "factory_name", "") or "–"

    @display(description="state", ordering="state")
    def status(self, job: Job) -> str:
        return render_to_string("llmadmin/live.html", _watched(job, job.pk))

    @display(description="state")
    def watched(self, job: Job) -> str:
        """The page comes anew when the state is another one: then other things can be done."""
        return render_to_string("llmadmin/live.html", {**_watched(job, f"{job.pk}:{job.state}"), "reload": True})

    @display(description="history")
    def history(self, job: Job) -> str:
        events = [
            {"at": event.at, "message": event.message, "badge": state_badge(event.state)}
            for event in history.events_of(job)
        ]
        return render_to_string("admin/jobs/history.html", {"events": events})

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        names = _names_of_tenants({job.tenant_id for job in rows})
        for job in rows:
            job.tenant_name = names.get(job.tenant_id, job.tenant_id)
        factories = _factories_of({str(job.params["credential_id"]) for job in rows if job.params.get("credential_id")})
        for job in rows:
            job.factory_name = factories.get(str(job.params.get("credential_id")), "")

    @display(description="tenant")
    def tenant(self, job: Any) -> str:
        if not job.tenant_id:
            return "–"
        name = getattr(job, "tenant_name", "") or _names_of_tenants({job.tenant_id}).get(job.tenant_id, job.tenant_id)
        try:
            return link(reverse("admin:tenants_tenant_change", args=[job.tenant_id]), name)
        except NoReverseMatch:
            return name

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
        """A key is a job's id, of a page also the state that it shows: another one ends the watch."""
        asked = {key: key.partition(":") for key in keys}
        jobs = self.get_queryset(request).in_bulk([pk for pk, _, _ in asked.values()])
        return {
            key: {"html": state_html(jobs[pk]), "finished": jobs[pk].is_finished or state not in ("", jobs[pk].state)}
            for key, (pk, _, state) in asked.items()
            if pk in jobs
        }

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

    @object_action(label="Suspend", icon="pause", permission="operate", when=lambda job: can_rest(job))
    def suspend(self, request: HttpRequest, job: Job) -> None:
        rests = queue.suspend(job, actor=actor_of(request))
        self.message_user(request, "Suspended." if rests.state == JobState.SUSPENDED else "It rests at its next step.")

    @object_action(
        label="Resume", icon="play_arrow", permission="operate", when=lambda job: job.state == JobState.SUSPENDED
    )
    def resume(self, request: HttpRequest, job: Job) -> None:
        queue.resume(job, actor=actor_of(request))
        self.message_user(request, "It goes on.")

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

    @admin.action(description="Suspend", permissions=["operate"])
    def suspend_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        jobs = [job for job in queryset if can_rest(job)]
        for job in jobs:
            queue.suspend(job, actor=actor_of(request))
        self.message_user(request, f"{len(jobs)} suspended; running ones rest at their next step.")

    @admin.action(description="Resume", permissions=["operate"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        jobs = [job for job in queryset if job.state == JobState.SUSPENDED]
        for job in jobs:
            queue.resume(job, actor=actor_of(request))
        self.message_user(request, f"{len(jobs)} go on.")


def can_rest(job: Job) -> bool:
    """Whether it could be suspended now."""
    job_type = types.find(job.type)
    waits = job.state in (JobState.PENDING, JobState.RUNNING) and job.cancel_requested_at is None
    return waits and job.suspend_requested_at is None and job_type is not None and job_type.suspendable


def _names_of_tenants(ids: set[str]) -> dict[str, str]:
    """Of those that still are: whose jobs these are is known to a room above, by ids that begin alike."""
    tenants = apps.get_model("tenants", "Tenant")._default_manager
    return dict(tenants.filter(pk__in=ids - {""}).values_list("pk", "name")) if ids - {""} else {}


def _factories_of(ids: set[str]) -> dict[str, str]:
    """The factories' names of those credentials that still are, which jobs know by id only, too."""
    credentials = apps.get_model("tenants", "Credential")._default_manager
    return dict(credentials.filter(pk__in=ids).values_list("pk", "factory__name")) if ids else {}


def kind_text(type: str) -> str:
    """A type in words: “install (llm model ops)”."""
    group, _, name = type.replace("_", " ").rpartition(":")
    return f"{name} ({group})" if group else name


def latest(job: Job, title: str = "") -> dict[str, Any]:
    """A row of `llmadmin/latest_jobs.html`; its type is what it is called if nothing else is said."""
    return {"job": job, "title": title or kind_text(job.type), "state": state_html(job)}


def state_badge(state: str) -> str:
    return badge(JobState(state).label, STATE_KINDS.get(JobState(state), ""))


def _watched(job: Job, key: str) -> dict[str, Any]:
    return {"key": key, "job": job, "html": state_html(job), "url": reverse("admin:jobs_job_live")}


def state_html(job: Job) -> str:
    """State, progress and message, as the list and the page show them."""
    told = {name: value for name, value in job.progress_detail.items() if name != "step" or value != job.message}
    context = {"job": job, "badge": state_badge(job.state), "bytes": bytes_text(told)}
    return render_to_string("llmadmin/job_state.html", context)


def bytes_text(detail: dict[str, Any]) -> str:
    """“1.2 GB of 2.0 GB, 45.1 MB/s, 18 s left”, as far as it is known."""
    if "done_bytes" not in detail:
        return str(detail.get("step", ""))
    text = filesizeformat(detail["done_bytes"])
    if "total_bytes" in detail:
        text += f" of {filesizeformat(detail['total_bytes'])}"
    if detail.get("rate_bytes_per_s"):
        text += f", {filesizeformat(detail['rate_bytes_per_s'])}/s"
    if "eta_s" in detail:
        text += f", {_duration(detail['eta_s'])} left"
    return f"{detail['step']}: {text}" if detail.get("step") else text


def _duration(seconds: int) -> str:
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
