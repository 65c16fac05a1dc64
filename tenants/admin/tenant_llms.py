"""Which models tenants may use, and through which key."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from core.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    actor_of,
    adopt,
    display,
    object_action,
)
from providers.admin.filters import TypeFilter
from providers.admin.forms import TypesForm
from tenants.admin.common import Switched, verdict_badge
from tenants.models import TenantLLM
from tenants.services import credentials, routes, tenant_llms


class TenantLLMForm(TypesForm):
    class Meta:
        model = TenantLLM
        fields = ("credential", "llm_name", "model_types", "max_tokens", "is_tools", "status")


@admin.register(TenantLLM)
class TenantLLMAdmin(Switched, ModelAdmin):
    form = TenantLLMForm
    list_display = (
        *(
            "name",
            "tenant",
            "factory",
            "key_label",
            "types",
            "max_tokens",
            "used_tokens",
            "last_verdict",
            "status_label",
        ),
    )
    list_select_related = ("tenant", "factory", "credential")
    list_filter = (
        ("factory", AutocompleteSelectFilter),
        ("tenant", AutocompleteSelectFilter),
        TypeFilter,
        ("verdict", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
    )
    list_disable_select_all = True
    search_fields = ("llm_name", "tenant__name")
    ordering = ("-id",)
    object_actions = ("test_now",)
    autocomplete_fields = ("credential",)
    readonly_fields = (
        "tenant",
        "factory",
        "llm",
        "used_tokens",
        "last_verdict",
        "checked_at",
        "created_at",
        "updated_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantLLM]:
        return super().get_queryset(request).saved().select_related("tenant", "factory", "credential", "llm__factory")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        asked: tuple[str, ...] = ("model_types", "primary_type", "max_tokens", "is_tools")
        if not self.has_change_permission(request, obj) and obj:
            asked = ("types", "max_tokens", "is_tools")
        if obj is None:
            return ((None, {"fields": ("credential", "llm_name", *asked)}),)
        return (
            (None, {"fields": ("llm_name", "tenant", "factory", "credential", "llm", *asked, "status")}),
            ("How it is", {"fields": ("last_verdict", "checked_at", "used_tokens", "created_at", "updated_at")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "llm_name", "credential", "types") if obj else self.readonly_fields

    @staticmethod
    def autocomplete_label(row: TenantLLM) -> str:
        return f"{row} ({row.credential.label})"

    def autocomplete_rows(self, request: HttpRequest, rows: QuerySet[TenantLLM]) -> QuerySet[TenantLLM]:
        """Those of one tenant, where that is asked for."""
        tenant = request.GET.get("tenant", "").replace("\0", "")
        return rows.filter(tenant=tenant) if tenant else rows

    @display(description="model", ordering="llm_name")
    def name(self, row: TenantLLM) -> str:
        return row.llm_name

    @display(description="key", ordering="credential__label")
    def key_label(self, row: TenantLLM) -> str:
        return row.credential.label

    @display(description="types", ordering="model_types")
    def types(self, row: TenantLLM) -> str:
        return ", ".join(row.model_types)

    @display(description="verdict", ordering="verdict")
    def last_verdict(self, row: TenantLLM) -> str:
        return verdict_badge(row.verdict)

    @object_action(label="Test now", icon="network_check", permission="operate", variant="primary")
    def test_now(self, request: HttpRequest, row: TenantLLM) -> HttpResponseRedirect:
        pairs = [(row.llm_name, kind) for kind in row.model_types]
        job = credentials.test(row.credential, actor=actor_of(request), pairs=pairs)
        there = reverse("admin:tenants_credential_change", args=[row.credential_id])
        return HttpResponseRedirect(f"{there}?job={job.pk}")

    def set_status(self, request: HttpRequest, rows: list[TenantLLM], status: str) -> int:
        return tenant_llms.set_status(rows, status=status, actor=actor_of(request))

    def save_model(self, request: HttpRequest, obj: TenantLLM, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        asked = {name: given[name] for name in ("model_types", "max_tokens", "is_tools")}
        if change:
            saved = tenant_llms.update(obj, **asked, status=given["status"], actor=actor)
        else:
            saved = tenant_llms.add(credential=given["credential"], llm_name=given["llm_name"], **asked, actor=actor)
        adopt(obj, saved)

    def delete_model(self, request: HttpRequest, obj: TenantLLM) -> None:
        tenant_llms.delete([obj], actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TenantLLM]) -> None:
        tenant_llms.delete(queryset, actor=actor_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        rows = list(objs)
        losses = routes.losses(TenantLLM.objects.filter(pk__in=[row.pk for row in rows]))
        counts = {"targets of routes": sum(loss.lost for loss in losses)}
        allowed = self.has_delete_permission(request)
        return [*map(str, rows), *map(str, losses)], counts, set() if allowed else {"tenant model"}, []
