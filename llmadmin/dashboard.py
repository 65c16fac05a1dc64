"""The admin's first page: what there is, what fails, what is being done. A few indexed queries, and cached numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Model, Sum
from django.http import HttpRequest
from django.urls import reverse

from core.clock import now
from jobs.admin import latest
from jobs.models import Job, WorkerHeartbeat
from jobs.services.heartbeats import WORKER_SILENT_AFTER_S, serves
from providers.models import LLM, VALID, LLMFactory
from runtimes.models import Health, LLMService
from tenants.admin.common import state_badge, verdict_badge
from tenants.models import Credential, CredentialState, Tenant, TenantLLM
from usage.admin.records import money
from usage.models import UsageDaily
from usage.services import reports

NUMBERS_CACHED_S = 60
ROWS = 8
USAGE_DAYS = 14
_TROUBLED = (CredentialState.FAILING, CredentialState.QUARANTINED)


def context(request: HttpRequest) -> dict[str, Any]:
    """What this person may see of it."""
    found: dict[str, Any] = {"tiles": [tile for tile in _tiles() if _sees(request, tile["permission"])]}
    if _sees(request, "tenants.view_credential"):
        found["credential_states"] = _numbers("credential-states", _credential_states)
        found["troubled"] = _troubled()
    if _sees(request, "usage.view_usagedaily"):
        found["usage"] = _numbers("usage", _usage)
    if _sees(request, "runtimes.view_llmservice"):
        found["services"] = _numbers("services", _services)
    if _sees(request, "jobs.view_job"):
        found["job_states"] = _numbers("job-states", _job_states)
        found["recent_jobs"] = [latest(job) for job in Job.objects.order_by("-id")[:ROWS]]
        found["workers"], found["unserved"] = _workers()
    return found


def _sees(request: HttpRequest, permission: str) -> bool:
    return bool(request.user.has_perm(permission) or request.user.has_perm(permission.replace(".view_", ".change_")))


def _numbers(name: str, count: Callable[[], Any]) -> Any:
    return cache.get_or_set(f"admin:dashboard:{name}", count, NUMBERS_CACHED_S)


def _tiles() -> list[dict[str, Any]]:
    totals = _numbers("totals", _totals)
    return [
        _tile("Factories", LLMFactory, totals["factories"], f"{totals['factories_on']} enabled"),
        _tile("Models", LLM, totals["models"], f"{totals['priced']} priced"),
        _tile("Tenants", Tenant, totals["tenants"], ""),
        _tile("Credentials", Credential, totals["credentials"], ""),
        _tile("Tenant models", TenantLLM, totals["tenant_llms"], ""),
    ]


def _totals() -> dict[str, int]:
    return {
        "factories": LLMFactory.objects.count(),
        "factories_on": LLMFactory.objects.valid().count(),
        "models": LLM.objects.count(),
        "priced": LLM.objects.exclude(price_source="").count(),
        "tenants": Tenant.objects.count(),
        "credentials": Credential.objects.saved().count(),
        "tenant_llms": TenantLLM.objects.count(),
    }


def _tile(title: str, model: type[Model], count: int, note: str) -> dict[str, Any]:
    stem = f"{model._meta.app_label}_{model._meta.model_name}"
    return {
        "title": title,
        "count": count,
        "note": note,
        "url": reverse(f"admin:{stem}_changelist"),
        "permission": f"{model._meta.app_label}.view_{model._meta.model_name}",
    }


def _credential_states() -> list[tuple[str, str, int]]:
    rows = Credential.objects.saved().order_by().values_list("state").annotate(Count("pk"))
    found = dict(rows)
    return [(state.value, str(state.label), found[state]) for state in CredentialState if found.get(state)]


def _services() -> dict[str, Any]:
    """How the enabled ones are; by name those that are down, and those that were found without being enabled."""
    counted = dict(LLMService.objects.enabled().order_by().values_list("health").annotate(Count("pk")))
    down = LLMService.objects.enabled().filter(health=Health.DOWN)
    found = LLMService.objects.filter(is_enabled=False, found_at__isnull=False)
    return {
        "states": [(one.value, str(one.label).lower(), counted[one]) for one in Health if counted.get(one)],
        "rows": [
            {"pk": pk, "name": name, "text": text, "kind": kind, "note": note or (error or {}).get("message", "")}
            for rows, text, kind, note in (
                (down, "down", "danger", ""),
                (found, "found", "info", "answers on its usual port, not enabled"),
            )
            for pk, name, error in rows.order_by("name").values_list("pk", "name", "error")[:ROWS]
        ],
    }


def _job_states() -> list[tuple[str, str, int]]:
    rows = Job.objects.order_by().values_list("state").annotate(Count("pk"))
    return sorted((state, state.replace("_", " "), count) for state, count in rows)


def _usage() -> dict[str, Any]:
    """What all tenants used in the last days, the busiest models and tenants first."""
    last = now().date()
    first = last - timedelta(days=USAGE_DAYS - 1)
    rows = UsageDaily.objects.all()
    report = reports.summary(rows, first=first, last=last, group_by=["day"])
    priced = report.total["cost"] > 0
    sizes = {line["day"]: line["cost"] if priced else line["calls"] for line in report.lines}
    largest = max(sizes.values(), default=0) or 1
    lines = {line["day"]: line for line in report.lines}
    days = [first + timedelta(days=number) for number in range(USAGE_DAYS)]
    spent = rows.between(first, last).order_by().values_list("tenant_id").annotate(cost=Sum("cost"), calls=Sum("calls"))
    tenants = list(spent.order_by("-cost", "-calls")[:ROWS])
    names = dict(Tenant.objects.filter(pk__in=[pk for pk, *_ in tenants]).order_by().values_list("pk", "name"))
    models = reports.summary(rows, first=first, last=last, group_by=["model"]).lines[:ROWS]
    return {
        "numbers": [
            *((name, f"{report.total[key]:,}") for name, key in (("calls", "calls"), ("tokens", "total_tokens"))),
            ("USD", money(report.total["cost"])),
            *((name, f"{report.total[name]:,}") for name in ("errors", "unpriced")),
        ],
        "measure": "cost" if priced else "calls",
        "days": [
            {
                "day": day,
                "calls": lines[day]["calls"] if day in lines else 0,
                "cost": money(lines[day]["cost"] if day in lines else Decimal(0)),
                "percent": round(100 * sizes.get(day, 0) / largest),
            }
            for day in days
        ],
        "models": [
            {"name": line["target"] or "none", "calls": line["calls"], "cost": money(line["cost"])} for line in models
        ],
        "tenants": [
            {"id": pk, "name": names.get(pk, f"{pk[:8]}… (deleted)"), "calls": calls, "cost": money(cost)}
            for pk, cost, calls in tenants
        ],
    }


def _troubled() -> list[dict[str, Any]]:
    rows = Credential.objects.filter(state__in=_TROUBLED, status=VALID).select_related("tenant", "factory")
    return [
        {"credential": row, "state": state_badge(row), "verdict": verdict_badge(row.verdict)}
        for row in rows.order_by("-checked_at")[:ROWS]
    ]


def _workers() -> tuple[list[dict[str, Any]], list[str]]:
    """Those that were seen last, and the queues that none of the living ones serves."""
    alive_since = now() - timedelta(seconds=WORKER_SILENT_AFTER_S)
    rows = list(WorkerHeartbeat.objects.order_by("-seen_at"))
    living = [row for row in rows if row.seen_at >= alive_since]
    unserved = [queue for queue in settings.JOB_QUEUES if not any(serves(row.queues, queue) for row in living)]
    return [{"row": row, "alive": row in living} for row in rows[:ROWS]], unserved
