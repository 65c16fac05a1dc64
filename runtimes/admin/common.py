"""What the pages of services and of their models share."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from core.admin import actor_of, badge
from jobs.services import requests
from jobs.services.requests import Submitted
from runtimes import drivers
from runtimes.models import Health, LLMService, ModelState, ServiceModel
from runtimes.services import calls
from runtimes.services.operation_requests import DELETE, LOAD, UNLOAD, UPDATE, VERBS, Verb

OPERATIONS = "llm_model_ops:"
LOOK_EVERY_S = 3  # how often a page asks for what it watches

HEALTH_KINDS = {Health.UP: "success", Health.DOWN: "danger"}
STATE_KINDS = {
    ModelState.LOADED: "success",
    ModelState.LOADING: "info",
    ModelState.DOWNLOADING: "info",
    ModelState.REMOVING: "warning",
    ModelState.ERROR: "danger",
}
FEATURES = {"streaming": "streaming", "tooling": "tools", "instructed": "instructed", "coding": "coding"}

# What a model's buttons do, in their order: verb, label, icon, what it asks before.
BUTTONS: tuple[tuple[Verb, str, str, str], ...] = (
    (LOAD, "Load", "memory", ""),
    (UNLOAD, "Unload", "eject", ""),
    (UPDATE, "Update", "update", ""),
    (DELETE, "Delete", "delete", "This removes the model from its runtime for good. Go on?"),
)


class Operated:
    """Mixin: who may change services may test them and manage their models; `operate_llmservice` allows only that."""

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(request.user.has_perm(f"runtimes.{verb}_llmservice") for verb in ("operate", "change"))


# --- How things are shown -------------------------------------------------------------------------------------------


def driver_label(service: LLMService) -> str:
    driver = drivers.installed().get(service.type)
    return driver.label if driver is not None else f"{service.type} (no driver)"


def error_text(service: LLMService) -> str:
    """What was wrong at the last look, with what to do about it."""
    error = service.error if isinstance(service.error, dict) else {}
    return " ".join(str(part) for part in (error.get("message"), error.get("hint")) if part)


def health_badge(service: LLMService) -> str:
    """The reason is its title."""
    reason, health = error_text(service), Health(service.health)
    if health == Health.UNKNOWN:
        if service.is_enabled:
            return badge("not looked at yet")
        return badge("not watched", "", "It is not enabled: nobody looks at it.")
    if health == Health.UP and reason:
        return badge("up, in part", "warning", reason)
    return badge(health.label, HEALTH_KINDS[health], reason)


def latency_text(service: LLMService) -> str:
    return f"{service.latency_ms} ms" if service.latency_ms is not None and service.is_up else "–"


def state_badge(model: ServiceModel) -> str:
    return badge(model.get_state_display(), STATE_KINDS.get(ModelState(model.state), ""))


def size_text(model: ServiceModel) -> str:
    return filesizeformat(model.size_bytes) if model.size_bytes else "–"


def parameters_text(count: int | None) -> str:
    """“7.6 B”, “137 M”."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count and count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + f" {letter}"
    return str(count or "–")


def features_text(model: ServiceModel) -> str:
    return ", ".join(word for name, word in FEATURES.items() if getattr(model, name))


# --- What can be done -----------------------------------------------------------------------------------------------


def cannot_text(service: LLMService) -> str:
    """Why some buttons are missing: its driver, or a look at it, says that there is no such verb."""
    if not service.is_enabled:
        return "Its models can be managed once it is enabled."
    missing = [name for name, verb in VERBS.items() if not calls.can(service, verb.capability)]
    if not missing:
        return ""
    listed = f"{', '.join(missing[:-1])} or {missing[-1]}" if len(missing) > 1 else missing[0]
    return f"{driver_label(service)} cannot {listed} models over its API: that is done with its own tools."


def offers(model: ServiceModel, verb: Verb) -> bool:
    """Whether this makes sense for the model now."""
    able = model.service.is_enabled and calls.can(model.service, verb.capability)
    return able and model.state not in (verb.idle, verb.passing, ModelState.REMOVED)


def start(request: HttpRequest, service: LLMService, type: str, **params: Any) -> Submitted:
    """A job about a service, or the one that does the same already. For who may operate services."""
    given = {"service_name": service.name, **params}
    return requests.submit(type, params=given, actor=actor_of(request), is_staff=True)


def operate(request: HttpRequest, service: LLMService, verb: str, **params: Any) -> HttpResponseRedirect:
    """Start a job that does something to one of its models, and lead to where it is watched."""
    asked = start(request, service, f"{OPERATIONS}{verb}", **params)
    if asked.joined:
        messages.info(request, "This was asked for before and is still under way.")
    elif not request.user.has_perm("jobs.view_job"):
        messages.success(request, "It is under way.")
    if request.user.has_perm("jobs.view_job"):
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[asked.job.pk]))
    return HttpResponseRedirect(service_url(service))


def service_url(service: LLMService) -> str:
    return reverse("admin:runtimes_llmservice_change", args=[service.pk])


def models_url(service: LLMService) -> str:
    return f"{reverse('admin:runtimes_servicemodel_changelist')}?service__id__exact={service.pk}"
