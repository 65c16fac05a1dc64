"""How the admin looks and what its menu offers. Plain data: settings read it before any app is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _static(path: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(path)


def _may_view(permission: str) -> Callable[[HttpRequest], bool]:
    app, model = permission.split(".")
    return lambda request: any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    app, name = model.split(".")
    link = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": _may_view(model)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "llmadmin",
    "SITE_HEADER": "llmadmin",
    "SITE_SUBHEADER": "Language models, administered",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("llmadmin/icon.svg")}],
    "STYLES": [_static("llmadmin/admin.css")],
    "SCRIPTS": [_static("llmadmin/admin.js")],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "items": [{"title": "Dashboard", "icon": "dashboard", "link": reverse_lazy("admin:index")}],
            },
            {
                "title": "Catalogue",
                "items": [
                    _item("Factories", "factory", "providers.llmfactory"),
                    _item("Models", "neurology", "providers.llm"),
                ],
            },
            {
                "title": "Tenants",
                "items": [
                    _item("Tenants", "apartment", "tenants.tenant"),
                    _item("Credentials", "key", "tenants.credential"),
                    _item("Tenant models", "model_training", "tenants.tenantllm"),
                    _item("Routes", "alt_route", "tenants.route"),
                    _item("Probes", "network_check", "tenants.probe"),
                    _item("API tokens", "token", "tenants.apitoken"),
                    _item("Langfuse", "query_stats", "tenants.langfuseproject"),
                ],
            },
            {
                "title": "Runtimes",
                "items": [
                    _item("Services", "dns", "runtimes.llmservice"),
                    _item("Models of services", "deployed_code", "runtimes.servicemodel"),
                    _item("Service events", "swap_vert", "runtimes.serviceevent"),
                ],
            },
            {
                "title": "Usage",
                "items": [
                    _item("Usage records", "receipt_long", "usage.usagerecord"),
                    _item("Daily usage", "monitoring", "usage.usagedaily"),
                    _item("Rate limits", "speed", "usage.ratelimit"),
                    _item("Budgets", "savings", "usage.budget"),
                ],
            },
            {
                "title": "Operations",
                "items": [
                    _item("Jobs", "pending_actions", "jobs.job"),
                    _item("Audit log", "policy", "tenants.auditevent"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _item("Users", "person", "auth.user"),
                    _item("Groups", "group", "auth.group"),
                    _item("Failed logins", "lock", "axes.accessattempt"),
                ],
            },
        ],
    },
}
