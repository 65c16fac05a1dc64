"""How services are listed: what the latest look found, watched while one looks on."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html

from core.admin import badge, display, link
from runtimes.admin.common import LOOK_EVERY_S, driver_label, health_badge, latency_text, models_url
from runtimes.models import Audience, LLMService, ModelState, ServiceModel, ServiceTenant

_PARTS = {"health": health_badge, "latency": latency_text}


class ServiceList:
    """Mixin of the services' admin."""

    list_display = ("title", "kind", "health_live", "latency_live", "model_count", "who", "switch")
    list_display_links = ("title",)
    pollable = True

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        models = ServiceModel.objects.present().order_by().filter(service__in=rows)
        grouped = models.values("service").annotate(
            total=Count("pk"), up=Count("pk", filter=Q(state=ModelState.LOADED))
        )
        counts = {one["service"]: (one["total"], one["up"]) for one in grouped}
        chosen = [row.pk for row in rows if row.audience == Audience.SOME]
        tenants = (
            ServiceTenant.objects.order_by().filter(service__in=chosen).values_list("service").annotate(Count("pk"))
        )
        numbers = dict(tenants)
        for row in rows:
            row.counted = counts.get(row.pk, (0, 0))
            row.tenant_count = numbers.get(row.pk, 0)
            row.may_enable = self.has_change_permission(request, row)  # type: ignore[attr-defined]

    @display(description="service", ordering="name")
    def title(self, service: LLMService) -> str:
        default = badge("default", "info", "Calls that name no model go here.") if service.is_default else ""
        note = format_html('<small class="lla-note">{}</small>', service.description) if service.description else ""
        return format_html("{} {}{}", service.name, default, note)

    @display(description="type", ordering="type")
    def kind(self, service: LLMService) -> str:
        return driver_label(service)

    @display(description="health", ordering="health")
    def health_live(self, service: LLMService) -> str:
        return self._live(service, "health")

    @display(description="latency", ordering="latency_ms")
    def latency_live(self, service: LLMService) -> str:
        return self._live(service, "latency")

    def _live(self, service: LLMService, part: str) -> str:
        context = {
            "key": f"{service.pk}:{part}",
            "url": reverse("admin:runtimes_llmservice_live"),
            "html": _PARTS[part](service),
            "every": LOOK_EVERY_S,
        }
        return render_to_string("llmadmin/live.html", context)

    def live_items(self, request: HttpRequest, keys: list[str]) -> dict[str, dict[str, Any]]:
        """A key is a service's id and the part of it that is shown: nothing of it ends by itself."""
        asked = {key: key.partition(":") for key in keys}
        rows = self.get_queryset(request).defer("secret")  # type: ignore[attr-defined]
        found = rows.in_bulk([pk for pk, _, _ in asked.values()])
        return {
            key: {"html": _PARTS[part](found[pk]), "finished": False}
            for key, (pk, _, part) in asked.items()
            if pk in found and part in _PARTS
        }

    @display(description="models")
    def model_count(self, service: Any) -> str:
        total, loaded = service.counted
        if not total:
            return "0"
        return format_html("{} <small>{} loaded</small>", link(models_url(service), total), loaded)

    @display(description="audience", ordering="audience")
    def who(self, service: Any) -> str:
        if service.audience == Audience.SOME:
            return f"{service.tenant_count} tenant{'' if service.tenant_count == 1 else 's'}"
        return str(service.get_audience_display())

    @display(description="state", ordering="is_enabled")
    def switch(self, service: Any) -> str:
        if service.is_enabled:
            return badge("enabled", "success")
        if service.found_at is None:
            return badge("disabled")
        found = badge("found", "info", "It answers on its usual port, and is not used until it is enabled.")
        if not service.may_enable:
            return found
        url = reverse("admin:runtimes_llmservice_do", args=[service.pk, "switch_on"])
        button = '{} <button type="submit" class="lla-copy" formaction="{}" formnovalidate>Enable</button>'
        return format_html(button, found, url)
