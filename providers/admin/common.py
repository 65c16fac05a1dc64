"""What the pages of factories and models share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import HistoryAdmin, actor_of, display
from providers.models import INVALID, LLM, VALID, LLMFactory
from providers.services import curation


class CataloguedAdmin(HistoryAdmin):
    """Rows that are switched on and off, and deleted, through `curation`."""

    actions = ("enable", "disable")

    @display(description="status", ordering="status", label={"enabled": "success", "disabled": "danger"})
    def state(self, row: LLMFactory | LLM) -> str:
        return str(row.get_status_display())

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = curation.set_status(queryset, status=VALID, actor=actor_of(request))
        self.message_user(request, f"{count} enabled.")

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = curation.set_status(queryset, status=INVALID, actor=actor_of(request))
        self.message_user(request, f"{count} disabled.")

    def delete_model(self, request: HttpRequest, obj: LLMFactory | LLM) -> None:
        curation.delete(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            curation.delete(row, actor=actor_of(request))
