"""Every test of a key that was made."""

from __future__ import annotations

from django.contrib import admin

from core.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    RangeDateTimeFilter,
    ReadOnly,
    display,
)
from tenants.admin.common import verdict_badge
from tenants.models import Probe


@admin.register(Probe)
class ProbeAdmin(ReadOnly, ModelAdmin):
    list_display = ("created_at", "tenant", "factory", "what", "outcome", "step", "http_status", "latency", "cost")
    list_select_related = ("tenant", "factory")
    list_filter = (
        ("verdict", ChoicesDropdownFilter),
        ("model_type", ChoicesDropdownFilter),
        ("tenant", AutocompleteSelectFilter),
        ("factory", AutocompleteSelectFilter),
        ("billed", BooleanRadioFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("llm_name",)
    ordering = ("-id",)
    fields = (
        *("tenant", "factory", "credential", "job", "llm_name", "model_type", "outcome", "step", "http_status"),
        *("latency", "message", "hint", "billed", "created_at"),
    )

    @display(description="what")
    def what(self, probe: Probe) -> str:
        return f"{probe.llm_name} ({probe.model_type})" if probe.llm_name else "list of models"

    @display(description="verdict", ordering="verdict")
    def outcome(self, probe: Probe) -> str:
        return verdict_badge(probe.verdict, probe.message)

    @display(description="billed", ordering="billed")
    def cost(self, probe: Probe) -> str:
        return "billed" if probe.billed else "free"

    @display(description="latency")
    def latency(self, probe: Probe) -> str:
        return "–" if probe.latency_ms is None else f"{probe.latency_ms} ms"
