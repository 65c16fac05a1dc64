"""The pages of services that are no lists and no forms of rows: models and their jobs, drivers, defaults of calls."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache

from core.admin import actor_of, refusal_text
from core.errors import AppError
from runtimes import drivers
from runtimes.admin import panels
from runtimes.admin.common import BUTTONS, LOOK_EVERY_S, cannot_text, driver_label, operate, service_url
from runtimes.admin.forms import DefaultsForm, ImportForm, ModelForm
from runtimes.drivers.base import CAPABILITIES
from runtimes.models import CallDefaults, LLMService, ServiceModel
from runtimes.services import calls, services
from runtimes.services.operation_requests import IMPORT, INSTALL

FETCHING = {
    INSTALL.name: (INSTALL, ModelForm, "Install a model", "download"),
    IMPORT.name: (IMPORT, ImportForm, "Import a model", "upload_file"),
}
_VERBS = {verb.name for verb, *_ in BUTTONS}


class ServicePages:
    """Mixin of the services' admin."""

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view  # type: ignore[attr-defined]
        stem = "runtimes_llmservice"
        return [
            path("<str:object_id>/page/live/", wrap(never_cache(self.page_live_view)), name=f"{stem}_page_live"),
            path("<str:object_id>/models/", wrap(self.operate_view), name=f"{stem}_operate"),
            path("<str:object_id>/fetch/<slug:verb>/", wrap(self.fetch_view), name=f"{stem}_fetch"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if (service := kwargs.get("obj")) is not None:
            context |= self._panels(request, service)
        return super().render_change_form(request, context, *args, **kwargs)  # type: ignore[misc]

    def _panels(self, request: HttpRequest, service: LLMService) -> dict[str, Any]:
        may_operate = self.has_operate_permission(request, service)  # type: ignore[attr-defined]
        live = reverse("admin:runtimes_llmservice_page_live", args=[service.pk])
        return {
            "service": service,
            "head": panels.head_html(service),
            "models": panels.models_html(service, request.GET, may_operate=may_operate),
            "narrow": panels.NarrowForm(request.GET),
            "page_live_url": f"{live}?{request.GET.urlencode()}" if request.GET else live,
            "every": LOOK_EVERY_S,
            "fetches": self._fetches(service) if may_operate else [],
            "jobs": panels.jobs_of(service) if request.user.has_perm("jobs.view_job") else None,
            "events": panels.events_of(service),
        }

    @staticmethod
    def _fetches(service: LLMService) -> list[dict[str, Any]]:
        if not service.is_enabled:
            return []
        field = ModelForm()["model_name"].as_widget(attrs={"placeholder": "Model to install", "aria-label": "Model"})
        return [
            {"verb": name, "label": label, "icon": icon, "field": field}
            for name, (verb, _, label, icon) in FETCHING.items()
            if calls.can(service, verb.capability)
        ]

    def page_live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What the service's page watches: its health, and its models as the page has narrowed them."""
        service = self._seen(request, object_id)
        may_operate = self.has_operate_permission(request, service)  # type: ignore[attr-defined]
        html = {
            "head": lambda: panels.head_html(service),
            "models": lambda: panels.models_html(service, request.GET, may_operate=may_operate),
        }
        asked = [key for key in request.GET.get("keys", "").split(",") if key in html]
        return JsonResponse({"items": {key: {"html": html[key](), "finished": False} for key in asked}})

    def operate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """POST `do`: a verb and a model's id, “load:12”."""
        service = self._operated(request, object_id)
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        verb, _, number = request.POST.get("do", "").partition(":")
        rows = ServiceModel.objects.present().filter(service=service)
        model = rows.filter(pk=number).first() if verb in _VERBS and number.isdecimal() else None
        if model is None:
            raise Http404
        try:
            with transaction.atomic():
                return operate(request, service, verb, model_name=model.name)
        except AppError as error:
            messages.error(request, refusal_text(error))
            return HttpResponseRedirect(service_url(service))

    def fetch_view(self, request: HttpRequest, object_id: str, verb: str) -> HttpResponse:
        """Install or import a model: GET asks which, POST starts the job; what is refused is said on the form."""
        service = self._operated(request, object_id)
        if verb not in FETCHING:
            raise Http404
        asked, form_type, title, icon = FETCHING[verb]
        form = form_type(request.POST or None)
        if request.method == "POST" and form.is_valid():
            given = {name: value for name, value in form.cleaned_data.items() if value not in ("", None)}
            try:
                with transaction.atomic():
                    return operate(request, service, verb, **given)
            except AppError as error:
                for name, texts in error.fields.items():
                    field = name.removeprefix("params.")
                    form.add_error(field if field in form.fields else None, texts)
                form.add_error(None, " ".join(part for part in (error.message, error.hint) if part))
        driver = drivers.installed().get(service.type)
        able = service.is_enabled and calls.can(service, asked.capability)
        context = {"service": service, "form": form, "verb": verb, "icon": icon, "label": title, "driver": driver}
        refused = "" if able else cannot_text(service)
        return self._page(request, "fetch.html", f"{title} on {service.name}", **context, refused=refused)

    def _page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        site = self.admin_site.each_context(request)  # type: ignore[attr-defined]
        given = {**site, "title": title, "opts": self.opts, **context}  # type: ignore[attr-defined]
        return render(request, f"admin/runtimes/{template}", given)

    def _seen(self, request: HttpRequest, object_id: str) -> LLMService:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        service: LLMService | None = self.get_object(request, object_id)  # type: ignore[attr-defined]
        if service is None:
            raise Http404
        return service

    def _operated(self, request: HttpRequest, object_id: str) -> LLMService:
        service = self._seen(request, object_id)
        if not self.has_operate_permission(request, service):  # type: ignore[attr-defined]
            raise PermissionDenied
        return service


def choose_view(admin: Any, request: HttpRequest) -> HttpResponse:
    """Which driver speaks to the new service: first those for one's own machines, then the others."""
    known = drivers.installed().values()
    groups = [
        ("Runtimes of one's own", [driver for driver in known if driver.is_local]),
        ("Cloud endpoints", [driver for driver in known if not driver.is_local]),
    ]
    return admin._page(request, "choose.html", "Add service", groups=groups)


def matrix_view(admin: Any, request: HttpRequest) -> HttpResponse:
    """What each driver declares, and what this was checked against."""
    rows = [
        {"driver": driver, "cells": [name in driver.capabilities for name in CAPABILITIES]}
        for driver in drivers.installed().values()
    ]
    differing = [
        {"service": service, "label": driver_label(service), "found": _differs(service)}
        for service in LLMService.objects.defer("secret").exclude(capabilities={})
    ]
    return admin._page(
        request,
        "matrix.html",
        "Capabilities of drivers",
        names=[name.replace("_", " ") for name in CAPABILITIES],
        rows=rows,
        differing=[row for row in differing if row["found"]],
    )


def _differs(service: LLMService) -> list[tuple[str, bool]]:
    """Where a look at the service found other than its driver declares."""
    driver = drivers.installed().get(service.type)
    declared = driver.capabilities if driver is not None else frozenset[str]()
    seen = calls.capabilities(service)
    return [(name.replace("_", " "), can) for name, can in seen.items() if can != (name in declared)]


def defaults_view(admin: Any, request: HttpRequest) -> HttpResponse:
    """What calls get that say neither which model they want nor how it is to answer."""
    current = LLMService.objects.filter(is_default=True).values_list("pk", flat=True).first()
    form = DefaultsForm(request.POST or None, instance=CallDefaults.current(), initial={"service": current})
    if request.method == "POST" and form.is_valid():
        given, actor = form.cleaned_data, actor_of(request)
        chosen = given["service"]
        with transaction.atomic():
            services.set_default(service_id=chosen.pk if chosen else None, actor=actor)
            services.set_call_defaults(temperature=given["temperature"], max_tokens=given["max_tokens"], actor=actor)
        messages.success(request, "Saved.")
        return HttpResponseRedirect(reverse("admin:runtimes_llmservice_changelist"))
    return admin._page(request, "defaults.html", "Defaults of calls", form=form)
