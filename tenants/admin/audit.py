"""Who did what, and when."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.cache import cache
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from core.admin import DropdownFilter, ModelAdmin, RangeDateTimeFilter, ReadOnly, TextFilter, display, json_text, link
from tenants.models import AuditEvent, Tenant

_CACHE_S = 60
_TENANTS_MATCHED = 100


class ActionFilter(DropdownFilter):
    """The actions that have happened."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = cache.get_or_set("admin:audit-actions", self._actions, _CACHE_S)
        return [(name, name) for name in names or ()]

    @staticmethod
    def _actions() -> list[str]:
        return list(AuditEvent.objects.order_by("action").values_list("action", flat=True).distinct())

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class TenantFilter(TextFilter):
    """By name or id: events outlive their tenants, so there is nothing to choose from."""

    title = "tenant (name or id)"
    parameter_name = "tenant"

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        named = Tenant.objects.order_by().filter(name__icontains=text).values_list("pk", flat=True)[:_TENANTS_MATCHED]
        return queryset.filter(Q(tenant_id=text) | Q(tenant_id__in=list(named)))


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, ModelAdmin):
    list_display = ("created_at", "action", "actor", "tenant_name", "target", "address")
    list_filter = (ActionFilter, TenantFilter, ("created_at", RangeDateTimeFilter))
    search_fields = ("actor", "target", "action")
    ordering = ("-id",)
    fields = ("created_at", "action", "actor", "user", "token_id", "address", "tenant_name", "target", "detail_shown")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        return super().get_queryset(request).select_related("user")

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        keys = {row.tenant_id for row in rows if row.tenant_id}
        names = dict(Tenant.objects.filter(pk__in=keys).order_by().values_list("pk", "name"))
        for row in rows:
            row.tenant_label = names.get(row.tenant_id, "")

    @display(description="detail")
    def detail_shown(self, event: AuditEvent) -> str:
        return json_text(event.detail)

    @display(description="tenant")
    def tenant_name(self, event: AuditEvent) -> str:
        if not event.tenant_id:
            return "–"
        label = getattr(event, "tenant_label", None)
        if label is None:
            label = Tenant.objects.filter(pk=event.tenant_id).values_list("name", flat=True).first() or ""
        if not label:
            return f"{event.tenant_id[:8]}… (deleted)"
        return link(reverse("admin:tenants_tenant_change", args=[event.tenant_id]), label)
