"""What a service's page shows beside its settings: its models with their buttons, its jobs, when it came and went."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q
from django.http import QueryDict
from django.template.loader import render_to_string
from django.urls import reverse

from core.admin import badge, widgets
from jobs.admin import kind_text, latest, state_html
from jobs.models import Job
from runtimes.admin.common import (
    BUTTONS,
    HEALTH_KINDS,
    OPERATIONS,
    cannot_text,
    features_text,
    health_badge,
    latency_text,
    models_url,
    offers,
    parameters_text,
    size_text,
    state_badge,
)
from runtimes.models import Health, LLMService, ModelState, ModelType, ServiceEvent, ServiceModel
from runtimes.services import services

MODELS_SHOWN = 50  # past that, people search
JOBS_SHOWN = EVENTS_SHOWN = 10
ABOUT_SERVICES = Q(type__startswith=OPERATIONS) | Q(type="service_check")


class NarrowForm(forms.Form):
    """How the models of a service are narrowed."""

    q = forms.CharField(
        required=False,
        max_length=255,
        label="Name",
        widget=widgets.UnfoldAdminTextInputWidget(
            {"placeholder": "A part of the name", "type": "search", "aria-label": "Name"}
        ),
    )
    state = forms.ChoiceField(
        required=False,
        choices=[("", "every state"), *ModelState.choices],
        widget=widgets.UnfoldAdminSelectWidget({"aria-label": "State"}),
    )
    type = forms.ChoiceField(
        required=False,
        choices=[("", "every type"), *ModelType.choices],
        widget=widgets.UnfoldAdminSelectWidget({"aria-label": "Type"}),
    )


def head_html(service: LLMService) -> str:
    """How the service is: watched by its page."""
    problem = service.error if isinstance(service.error, dict) and service.error.get("message") else None
    context = {
        "service": service,
        "badge": health_badge(service),
        "latency": latency_text(service),
        "problem": problem,
        "blocked": [] if service.is_enabled else services.blocked(service).items(),
    }
    return render_to_string("admin/runtimes/health.html", context)


def models_html(service: LLMService, given: QueryDict, *, may_operate: bool) -> str:
    """A table of its models, narrowed by q, state and type; watched by its page."""
    form = NarrowForm(given)
    narrowed = form.cleaned_data if form.is_valid() else {}
    rows = ServiceModel.objects.filter(service=service)
    rows = rows.filter(state=narrowed["state"]) if narrowed.get("state") else rows.present()
    if narrowed.get("q"):
        rows = rows.filter(name__icontains=narrowed["q"])
    if narrowed.get("type"):
        rows = rows.filter(type=narrowed["type"])
    found = list(rows.order_by("name")[: MODELS_SHOWN + 1])
    jobs = _under_way(service)
    shown = []
    for model in found[:MODELS_SHOWN]:
        model.service = service
        job = jobs.get(model.name)
        shown.append(
            {
                "model": model,
                "url": reverse("admin:runtimes_servicemodel_change", args=[model.pk]),
                "state": state_badge(model),
                "size": size_text(model),
                "parameters": parameters_text(model.parameters),
                "features": features_text(model),
                "job": job,
                "job_kind": kind_text(job.type).partition(" ")[0] if job else "",
                "buttons": buttons(model) if may_operate and job is None else [],
            }
        )
    known = {model.name for model in found}
    coming = [] if any(narrowed.values()) else [(name, job) for name, job in jobs.items() if name not in known]
    context = {
        "service": service,
        "rows": shown,
        "coming": [{"name": name, "job": job, "state": state_html(job)} for name, job in coming],
        "more": models_url(service) if len(found) > MODELS_SHOWN else "",
        "narrowed": any(narrowed.values()),
        "cannot": cannot_text(service) if may_operate else "",
        "may_operate": may_operate,
    }
    return render_to_string("admin/runtimes/models.html", context)


def buttons(model: ServiceModel) -> list[dict[str, str]]:
    """What can be done to a model now."""
    return [
        {"verb": verb.name, "label": label, "icon": icon, "confirm": confirm}
        for verb, label, icon, confirm in BUTTONS
        if offers(model, verb)
    ]


def jobs_of(service: LLMService) -> list[dict[str, Any]]:
    """The latest jobs about it and its models."""
    jobs = Job.objects.filter(ABOUT_SERVICES, params__service_name=service.name).order_by("-id")[:JOBS_SHOWN]
    return [
        latest(job, f"{kind_text(job.type).partition(' (')[0]} {job.params.get('model_name', '')}".strip())
        for job in jobs
    ]


def events_of(service: LLMService) -> list[dict[str, Any]]:
    """When it came and went, the latest first."""
    events = ServiceEvent.objects.filter(service=service)[:EVENTS_SHOWN]
    return [{"event": event, "change": change_html(event)} for event in events]


def change_html(event: ServiceEvent) -> str:
    return badge(Health(event.after).label, HEALTH_KINDS.get(Health(event.after), ""))


def _under_way(service: LLMService) -> dict[str, Job]:
    """The active job of each model that has one."""
    active = Job.objects.active().filter(type__startswith=OPERATIONS, params__service_name=service.name)
    return {job.params.get("model_name", ""): job for job in active.order_by("id")}
