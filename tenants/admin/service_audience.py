"""The services' page, where the tenants that may use one are chosen by their names."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join

from core.admin import display
from runtimes.admin import LLMServiceAdmin
from runtimes.admin.forms import LLMServiceForm
from runtimes.models import LLMService, ServiceTenant
from tenants.models import Membership, RouteTarget, Tenant
from tenants.services import routes

NAMED_AT_MOST = 20


class AudienceForm(LLMServiceForm):
    tenants = forms.ModelMultipleChoiceField(
        queryset=Tenant.objects.order_by("name"),
        required=False,
        help_text="Who may use it if the audience is “some tenants”.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (field := self.fields.get("tenants")) is None:
            return
        # The page of members offers tenants in the same way; services have no column that refers to them.
        related = Membership._meta.get_field("tenant")
        field.widget = admin.widgets.AutocompleteSelectMultiple(related, admin.site, choices=field.choices)  # type: ignore[attr-defined]
        field.widget.is_required = False
        if self.saved:
            self.initial["tenants"] = _chosen(self.instance)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("audience") == "some" and not cleaned.get("tenants") and "tenants" not in self.errors:
            self.add_error("tenants", "Choose at least one, or another audience.")
        return cleaned

    def chosen_tenants(self) -> list[str]:
        return [tenant.pk for tenant in self.cleaned_data["tenants"]]


admin.site.unregister(LLMService)


@admin.register(LLMService)
class ServiceAudienceAdmin(LLMServiceAdmin):
    form = AudienceForm
    audience_fields = ("audience", "tenants")

    @display(description="tenants")
    def tenants_shown(self, service: LLMService) -> str:
        names = Tenant.objects.filter(pk__in=_chosen(service)).order_by("name").values_list("name")
        return format_html_join(", ", "{}", names[:NAMED_AT_MOST]) or "–"

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        told, counts, missing, protected = super().get_deleted_objects(objs, request)
        losses = routes.losses_with_services(objs, at_most=NAMED_AT_MOST)
        counts["targets of routes"] = RouteTarget.objects.filter(service_model__service__in=objs).count()
        return [*told, *map(str, losses)], counts, missing, protected


def _chosen(service: LLMService) -> list[str]:
    return list(ServiceTenant.objects.filter(service=service).values_list("tenant_id", flat=True))
