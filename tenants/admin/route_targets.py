"""A route's targets, as rows of its form: each a model of the tenant, or of a service that it may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from core.admin import ScopedAutocomplete, ServiceForm, TabularInline, badge, display, widgets
from providers.models import VALID
from runtimes.models import ServiceModel
from tenants.models import OnError, RouteTarget, TenantLLM
from tenants.services.route_plans import MAX_TARGETS, TargetPlan

MODELS = ("tenant_llm", "service_model")  # of which a target has one


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
        fields = ("tenant_llm", "service_model", "position", "weight", "only_on", "status")


class TargetInline(TabularInline):
    """Whoever may change a route may change its targets."""

    model = RouteTarget
    form = TargetForm
    extra = 0
    max_num = MAX_TARGETS
    hide_title = True
    verbose_name = "target"
    autocomplete_fields = MODELS
    ordering = ("position", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RouteTarget]:
        return super().get_queryset(request).shown()

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        self.tenant = obj.tenant if obj else getattr(request, "chosen_tenant", None)
        self.route = obj
        return super().get_formset(request, obj, **kwargs)

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return (*MODELS, "position", "weight", "only_on", "status", *(("state",) if obj else ()))
        return ("model_name", "position", "weight", "condition", "state")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("model_name", "condition", "state")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in MODELS:
            kwargs["queryset"] = self.offered(db_field.name)
            scope = {"tenant": self.tenant.pk if self.tenant else ""}
            kwargs["widget"] = ScopedAutocomplete(db_field, self.admin_site, scope)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.name == "tenant_llm":
            field.label_from_instance = model_label
        return field

    def offered(self, name: str) -> QuerySet[Any]:
        """What the tenant can choose from, and what the route has already: a service may have been taken away."""
        if name == "tenant_llm":
            own = TenantLLM.objects.for_tenant(self.tenant).saved() if self.tenant else TenantLLM.objects.none()
            return own.select_related("factory", "credential")
        served = ServiceModel.objects.for_tenant(self.tenant.pk) if self.tenant else ServiceModel.objects.none()
        kept = RouteTarget.objects.filter(route=self.route).values("service_model")
        rows = ServiceModel.objects.filter(Q(pk__in=served.order_by().values("pk")) | Q(pk__in=kept))
        return rows.select_related("service").defer("service__secret")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in MODELS:
            for verb in ("add", "change", "delete", "view"):
                setattr(field.widget, f"can_{verb}_related", False)
        return field

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("tenants.view_route")) or self.has_change_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("tenants.change_route" if obj else "tenants.add_route"))

    has_add_permission = has_delete_permission = has_change_permission

    @display(description="model")
    def model_name(self, target: RouteTarget) -> str:
        return model_label(target.model)

    @display(description="only after")
    def condition(self, target: RouteTarget) -> str:
        return ", ".join(str(OnError(code).label) for code in target.only_on) or "always"

    @display(description="state")
    def state(self, target: RouteTarget) -> str:
        if target.pk is None or target.is_usable:
            return badge("usable", "success") if target.pk else ""
        return badge("not usable", "danger", why_unusable(target))


def model_label(model: TenantLLM | ServiceModel) -> str:
    """A model told from the same one through another key."""
    return f"{model} ({model.credential.label})" if isinstance(model, TenantLLM) else str(model)


def why_unusable(target: RouteTarget) -> str:
    if target.status != VALID:
        return "It is disabled in this route."
    if not target.fits:
        return f"The model is not for {target.route.model_type} any more."
    if target.service_model is not None:
        return "The model is gone, or its service is disabled or not for this tenant any more."
    return "The model, its credential or its factory is disabled or quarantined."


def planned(formset: Any) -> list[TargetPlan]:
    """The targets that a formset of checked forms asks for."""
    kept = [row for row in formset.forms if row not in formset.deleted_forms]
    return [_planned(row.cleaned_data) for row in kept if any(row.cleaned_data.get(name) for name in MODELS)]


def _planned(given: Mapping[str, Any]) -> TargetPlan:
    own, served = given["tenant_llm"], given["service_model"]
    columns = {name: given[name] for name in ("position", "weight", "only_on", "status") if name in given}
    return TargetPlan(own and own.pk, service_model=str(served or ""), **columns)
