"""Routes: which of a tenant's models answer for a name, in which order."""

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
    ScopedAutocomplete,
    ServiceForm,
    TabularInline,
    actor_of,
    adopt,
    badge,
    display,
    link,
    object_action,
    widgets,
)
from providers.models import INVALID, VALID
from tenants.admin.common import Switched
from tenants.models import OnError, Route, RouteTarget, Tenant, TenantLLM
from tenants.services import routes
from tenants.services.route_plans import COLUMNS, MAX_TARGETS, RoutePlan, TargetPlan

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


class TargetForm(ServiceForm):
    only_on = forms.MultipleChoiceField(
        choices=OnError.choices,
        required=False,
        label="Only after",
        help_text="Tried only after one of these failures; none ticked: always.",
        widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = RouteTarget
        fields = ("tenant_llm", "position", "weight", "only_on", "status")


class TargetInline(TabularInline):
    """Whoever may change a route may change its targets."""

    model = RouteTarget
    form = TargetForm
    extra = 0
    max_num = MAX_TARGETS
    hide_title = True
    verbose_name = "target"
    autocomplete_fields = ("tenant_llm",)
    ordering = ("position", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RouteTarget]:
        rows = super().get_queryset(request)
        return rows.select_related("route", "tenant_llm__factory", "tenant_llm__credential", "tenant_llm__llm")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        self.tenant = obj.tenant if obj else getattr(request, "chosen_tenant", None)
        return super().get_formset(request, obj, **kwargs)

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return ("tenant_llm", "position", "weight", "only_on", "status", *(("state",) if obj else ()))
        return ("model_name", "position", "weight", "condition", "state")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("model_name", "condition", "state")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "tenant_llm":
            rows = TenantLLM.objects.for_tenant(self.tenant).saved() if self.tenant else TenantLLM.objects.none()
            kwargs["queryset"] = rows.select_related("factory", "credential")
            scope = {"tenant": self.tenant.pk if self.tenant else ""}
            kwargs["widget"] = ScopedAutocomplete(db_field, self.admin_site, scope)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.name == "tenant_llm":
            field.label_from_instance = model_label
        return field

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name == "tenant_llm":
            field.widget.can_add_related = field.widget.can_change_related = field.widget.can_delete_related = False
        return field

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("tenants.view_route")) or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("tenants.change_route" if obj else "tenants.add_route"))

    has_add_permission = has_delete_permission = has_change_permission

    @display(description="model")
    def model_name(self, target: RouteTarget) -> str:
        return model_label(target.tenant_llm)

    @display(description="only after")
    def condition(self, target: RouteTarget) -> str:
        return ", ".join(str(OnError(code).label) for code in target.only_on) or "always"

    @display(description="state")
    def state(self, target: RouteTarget) -> str:
        if target.pk is None or target.is_usable:
            return badge("usable", "success") if target.pk else ""
        return badge("not usable", "danger", why_unusable(target))


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
    search_fields = ("name", "description", "tenant__name", "targets__tenant_llm__llm_name")
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
        related = ("route", "tenant_llm__factory", "tenant_llm__credential", "tenant_llm__llm")
        targets: dict[str, list[RouteTarget]] = {row.pk: [] for row in rows}
        found = RouteTarget.objects.filter(route__in=rows).select_related(*related).order_by("position", "id")
        for target in found.defer("tenant_llm__credential__secret", "tenant_llm__factory__logo"):
            targets[target.route_id].append(target)
        for row in rows:
            row.found = targets[row.pk]

    @display(description="leads to")
    def leads_to(self, route: Any) -> str:
        usable = [target for target in route.found if target.is_usable]
        if all(target.only_on for target in usable):
            return badge("nowhere", "danger", "None of its targets can be called.")
        names = list(dict.fromkeys(str(target.tenant_llm) for target in route.found))
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        text = f"{', '.join(names[:NAMED_AT_MOST])}{more}"
        missing = len(route.found) - len(usable)
        return format_html("{} {}", text, badge(f"{missing} not usable", "warning")) if missing else text

    # --- What can be done -------------------------------------------------------------------------------------------

    def set_status(self, request: HttpRequest, rows: list[Route], status: str) -> int:
        return routes.set_status(rows, status=status, actor=actor_of(request))

    @object_action(label="Enable", icon="toggle_on", permission="operate", when=lambda route: route.status != VALID)
    def switch_on(self, request: HttpRequest, route: Route) -> None:
        self.switch(request, [route], VALID)

    @object_action(label="Disable", icon="toggle_off", permission="operate", when=lambda route: route.status == VALID)
    def switch_off(self, request: HttpRequest, route: Route) -> None:
        self.switch(request, [route], INVALID)

    # --- Saving: the route and its targets are one thing to the service ----------------------------------------------

    def save_model(self, request: HttpRequest, obj: Route, form: Any, change: bool) -> None:
        """Done in `save_related`, where the targets are known too."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        actor = actor_of(request)
        given = {name: form.cleaned_data[name] for name in COLUMNS if name in form.cleaned_data}
        for formset in formsets:  # there is one; Django's log wants to know what changed in it
            formset.save(commit=False)
            given["targets"] = [_planned(row) for row in formset.forms if _is_kept(formset, row)]
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


def model_label(model: TenantLLM) -> str:
    """A model told from the same one through another key."""
    return f"{model} ({model.credential.label})"


def why_unusable(target: RouteTarget) -> str:
    model = target.tenant_llm
    if target.status != VALID:
        return "It is disabled in this route."
    if target.route.model_type not in model.model_types:
        return f"The model is not for {target.route.model_type} any more."
    return "The model, its credential or its factory is disabled or quarantined."


def _is_kept(formset: Any, row: Any) -> bool:
    return bool(row.cleaned_data.get("tenant_llm")) and row not in formset.deleted_forms


def _planned(row: Any) -> TargetPlan:
    given = row.cleaned_data
    columns = ("position", "weight", "only_on", "status")
    return TargetPlan(given["tenant_llm"].pk, **{name: given[name] for name in columns if name in given})
