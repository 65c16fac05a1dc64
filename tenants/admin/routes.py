"""Routes: which models answer for a name of a tenant's, in which order."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html

from core.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    ServiceForm,
    actor_of,
    adopt,
    badge,
    display,
    link,
)
from tenants.admin.common import Switched
from tenants.admin.route_targets import TargetInline, planned
from tenants.models import Route, RouteTarget, Tenant
from tenants.services import routes
from tenants.services.route_plans import COLUMNS, RoutePlan

NAMED_AT_MOST = 3


class RouteForm(ServiceForm):
    request: Any = None

    class Meta:
        model = Route
        fields = COLUMNS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if tenant := getattr(self.request, "chosen_tenant", None):  # a new route's targets are checked against it
            self.instance.tenant = tenant


@admin.register(Route)
class RouteAdmin(Switched, ModelAdmin):
    form = RouteForm
    list_display = ("name", "tenant", "model_type", "strategy", "leads_to", "updated_at", "status_label")
    list_select_related = ("tenant",)
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("model_type", ChoicesDropdownFilter),
        ("strategy", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
    )
    list_disable_select_all = True
    search_fields = (
        *("name", "description", "tenant__name"),
        *("targets__tenant_llm__llm_name", "targets__service_model__name", "targets__service_model__service__name"),
    )
    search_help_text = "Name, description, tenant, or a model behind it"
    autocomplete_fields = ("tenant",)
    ordering = ("-id",)
    object_actions = ("switch_on", "switch_off")
    inlines = (TargetInline,)
    readonly_fields = ("tenant", "updated_at")

    # --- The form: a tenant is chosen first, whose models are then offered ------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        field = self.formfield_for_foreignkey(Route._meta.get_field("tenant"), request)
        form = type("ChooseForm", (forms.Form,), {"tenant": field})(request.GET if request.GET.get("tenant") else None)
        if not (form.is_bound and form.is_valid()):
            context = {**self.admin_site.each_context(request), "title": "Add route", "opts": self.opts}
            return render(request, "llmadmin/route_choose.html", {**context, "form": form, "media": form.media})
        request.chosen_tenant = form.cleaned_data["tenant"]  # type: ignore[attr-defined]
        return super().add_view(request, form_url, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        rows = (("model_type", "strategy"), ("timeout_s", "max_retries"))
        if obj is None:
            return ((None, {"fields": ("name", "tenant_shown", "description", *rows)}),)
        return ((None, {"fields": ("name", "tenant", "description", *rows, "status", "updated_at")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ("tenant_shown",)

    @display(description="tenant")
    def tenant_shown(self, route: Route) -> str:
        return format_html("{} · {}", route.tenant, link(reverse("admin:tenants_route_add"), "choose another"))

    # --- The list ---------------------------------------------------------------------------------------------------

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        targets: dict[str, list[RouteTarget]] = {row.pk: [] for row in rows}
        for target in RouteTarget.objects.filter(route__in=rows).shown().order_by("position", "id"):
            targets[target.route_id].append(target)
        for row in rows:
            row.found = targets[row.pk]

    @display(description="leads to")
    def leads_to(self, route: Any) -> str:
        usable = [target for target in route.found if target.is_usable]
        if all(target.only_on for target in usable):
            return badge("nowhere", "danger", "None of its targets can be called.")
        names = list(dict.fromkeys(str(target.model) for target in route.found))
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        text = f"{', '.join(names[:NAMED_AT_MOST])}{more}"
        missing = len(route.found) - len(usable)
        return format_html("{} {}", text, badge(f"{missing} not usable", "warning")) if missing else text

    # --- What can be done -------------------------------------------------------------------------------------------

    def set_status(self, request: HttpRequest, rows: list[Route], status: str) -> int:
        return routes.set_status(rows, status=status, actor=actor_of(request))

    # --- Saving: the route and its targets are one thing to the service ----------------------------------------------

    def save_model(self, request: HttpRequest, obj: Route, form: Any, change: bool) -> None:
        """Done in `save_related`, where the targets are known too."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        actor = actor_of(request)
        given = {name: form.cleaned_data[name] for name in COLUMNS if name in form.cleaned_data}
        for formset in formsets:  # there is one; Django's log wants to know what changed in it
            formset.save(commit=False)
            given["targets"] = planned(formset)
        if change:
            saved = routes.update(form.instance, **given, actor=actor)
        else:
            saved = routes.create(tenant=form.instance.tenant, plan=RoutePlan(**given), actor=actor)
        adopt(form.instance, saved)

    def delete_model(self, request: HttpRequest, obj: Route) -> None:
        routes.delete(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Route]) -> None:
        for route in queryset:
            routes.delete(route, actor=actor_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        tenants = Tenant.objects.in_bulk([route.tenant_id for route in objs])
        told: list[Any] = []
        for route in objs:
            columns = routes.default_columns(tenants[route.tenant_id], route)
            names = [str(Tenant._meta.get_field(column).verbose_name) for column in columns]  # type: ignore[union-attr]
            told += [str(route), *([[f"It is {route.tenant}'s {' and '.join(names)}"]] if names else [])]
        counts = {"targets": RouteTarget.objects.filter(route__in=objs).count()}
        return told, counts, set() if self.has_delete_permission(request) else {"route"}, []
