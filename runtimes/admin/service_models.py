"""The models of all services in one list, and when services came and went."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from core.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    RangeDateTimeFilter,
    ReadOnly,
    display,
    json_text,
    link,
    object_action,
)
from providers.admin.filters import TypeFilter
from runtimes.admin.common import (
    LOOK_EVERY_S,
    Operated,
    cannot_text,
    features_text,
    offers,
    operate,
    parameters_text,
    service_url,
    size_text,
    state_badge,
)
from runtimes.admin.filters import FeatureFilter
from runtimes.admin.panels import change_html
from runtimes.models import ServiceEvent, ServiceModel
from runtimes.services.operation_requests import DELETE, LOAD, UNLOAD, UPDATE


class UseFilter(TypeFilter):
    title = "used for"
    parameter_name = "use"


@admin.register(ServiceModel)
class ServiceModelAdmin(ReadOnly, Operated, ModelAdmin):
    list_display = ("name", "service_link", "kind", "state_live", "uses", "max_tokens", "size", "features")
    list_filter = (
        ("service", AutocompleteSelectFilter),
        ("state", ChoicesDropdownFilter),
        ("type", ChoicesDropdownFilter),
        *(UseFilter, FeatureFilter),
    )
    search_fields = ("name", "service__name", "description", "architecture", "publisher")
    search_help_text = "Name, service, description, architecture or publisher"
    ordering = ("service__name", "name")
    object_actions = ("load", "unload", "fetch_update", "remove")
    pollable = True
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("full_name", "service_link", "kind", "uses", "state_live", "managed", "description"),
                    *("features", "max_tokens", "size", "parameter_count", "architecture"),
                    *("publisher", "format", "runtime_name", "file_path", "detail_shown"),
                )
            },
        ),
        ("Times", {"fields": ("first_seen_at", "seen_at", "modified_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceModel]:
        return super().get_queryset(request).select_related("service").defer("service__secret")

    @staticmethod
    def autocomplete_label(model: ServiceModel) -> str:
        return model.full_name

    def autocomplete_rows(self, request: HttpRequest, rows: QuerySet[ServiceModel]) -> QuerySet[ServiceModel]:
        """Those that a tenant may call, where that is asked for."""
        tenant = request.GET.get("tenant", "").replace("\0", "")
        return rows.filter(pk__in=ServiceModel.objects.for_tenant(tenant).order_by().values("pk")) if tenant else rows

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        """`service~model` finds what it names."""
        return super().get_search_results(request, queryset, search_term.replace("~", " "))

    def live_items(self, request: HttpRequest, keys: list[str]) -> dict[str, dict[str, Any]]:
        rows = self.get_queryset(request).in_bulk([int(key) for key in keys if key.isdecimal() and len(key) < 19])
        return {str(pk): {"html": state_badge(row), "finished": False} for pk, row in rows.items()}

    @display(description="service", ordering="service__name")
    def service_link(self, model: ServiceModel) -> str:
        return link(service_url(model.service), model.service.name)

    @display(description="state", ordering="state")
    def state_live(self, model: ServiceModel) -> str:
        url = reverse("admin:runtimes_servicemodel_live")
        context = {"key": model.pk, "url": url, "html": state_badge(model), "every": LOOK_EVERY_S}
        return render_to_string("llmadmin/live.html", context)

    @display(description="called as")
    def full_name(self, model: ServiceModel) -> str:
        return model.full_name

    @display(description="type", ordering="type")
    def kind(self, model: ServiceModel) -> str:
        return model.type

    @display(description="used for", ordering="model_types")
    def uses(self, model: ServiceModel) -> str:
        return ", ".join(model.model_types or ()) or "–"

    @display(description="size", ordering="size_bytes")
    def size(self, model: ServiceModel) -> str:
        return " · ".join(part for part in (size_text(model), model.quantization) if part)

    @display(description="parameters")
    def parameter_count(self, model: ServiceModel) -> str:
        return parameters_text(model.parameters)

    @display(description="can")
    def features(self, model: ServiceModel) -> str:
        return features_text(model) or "–"

    @display(description="format")
    def format(self, model: ServiceModel) -> str:
        return "GGUF" if model.is_gguf else "MLX" if model.is_mlx else "–"

    @display(description="found again by")
    def detail_shown(self, model: ServiceModel) -> str:
        return json_text(model.detail)

    @display(description="what can be done")
    def managed(self, model: ServiceModel) -> str:
        return cannot_text(model.service) or "Everything: load, unload, update, delete."

    @object_action(label="Load", icon="memory", permission="operate", when=lambda model: offers(model, LOAD))
    def load(self, request: HttpRequest, model: ServiceModel) -> HttpResponse:
        return operate(request, model.service, "load", model_name=model.name)

    @object_action(label="Unload", icon="eject", permission="operate", when=lambda model: offers(model, UNLOAD))
    def unload(self, request: HttpRequest, model: ServiceModel) -> HttpResponse:
        return operate(request, model.service, "unload", model_name=model.name)

    @object_action(label="Update", icon="update", permission="operate", when=lambda model: offers(model, UPDATE))
    def fetch_update(self, request: HttpRequest, model: ServiceModel) -> HttpResponse:
        return operate(request, model.service, "update", model_name=model.name)

    @object_action(
        label="Delete",
        icon="delete",
        permission="operate",
        variant="danger",
        confirm="This removes the model from its runtime for good. Go on?",
        when=lambda model: offers(model, DELETE),
    )
    def remove(self, request: HttpRequest, model: ServiceModel) -> HttpResponse:
        return operate(request, model.service, "delete", model_name=model.name)


@admin.register(ServiceEvent)
class ServiceEventAdmin(ReadOnly, ModelAdmin):
    list_display = ("at", "service_link", "became", "before", "reason")
    list_select_related = ("service",)
    list_filter = (
        ("service", AutocompleteSelectFilter),
        ("after", ChoicesDropdownFilter),
        ("at", RangeDateTimeFilter),
    )
    search_fields = ("service__name", "reason")
    ordering = ("-at", "-id")
    fields = ("at", "service_link", "became", "before", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ServiceEvent]:
        return super().get_queryset(request).select_related("service").defer("service__secret")

    @display(description="service", ordering="service__name")
    def service_link(self, event: ServiceEvent) -> str:
        return link(service_url(event.service), event.service.name)

    @display(description="became", ordering="after")
    def became(self, event: ServiceEvent) -> str:
        return change_html(event)
