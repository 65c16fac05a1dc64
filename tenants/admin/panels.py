"""What a credential's page shows of its tests: the running or latest one, and the latest twenty calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.template.loader import render_to_string

from jobs.models import Job
from tenants.admin.common import state_badge, verdict_badge
from tenants.models import Credential, Probe

HISTORY_LENGTH = 20
CALLS_SHOWN = 500
TEMPLATE = "llmadmin/probe_panel.html"


def page_context(credential: Credential, job_id: str) -> dict[str, Any]:
    """For the whole page: how the credential is, the test that is watched, and the history."""
    tests = Job.objects.for_tenant(credential.tenant_id).filter(type="probe", params__credential_id=credential.pk)
    job = tests.filter(pk=job_id).first() if job_id else tests.order_by("-created_at").first()
    history = list(Probe.objects.filter(credential=credential).order_by("-created_at", "-id")[:HISTORY_LENGTH])
    return {"credential": credential, "job": job, "panel": _panel(credential, job), "history": _rows(history)}


def live_items(keys: list[str], allowed: QuerySet[Credential]) -> dict[str, dict[str, Any]]:
    """The panels of these probe jobs, of credentials that may be seen."""
    jobs = list(Job.objects.filter(pk__in=keys, type="probe"))
    wanted = {job.params.get("credential_id") for job in jobs}
    visible = {credential.pk: credential for credential in allowed.filter(pk__in=wanted)}
    tested = [(job, visible.get(job.params.get("credential_id"))) for job in jobs]
    return {
        job.pk: {"html": _panel(credential, job), "finished": job.is_finished}
        for job, credential in tested
        if credential
    }


def _panel(credential: Credential, job: Job | None) -> str:
    calls = Probe.objects.filter(job=job).order_by("created_at", "id")[:CALLS_SHOWN] if job else ()
    verdict = str(job.result.get("verdict") or "") if job else ""
    how = {
        "outcome": verdict_badge(verdict or "untested"),
        "state": state_badge(credential),
        "verdict": verdict_badge(credential.verdict),
    }
    return render_to_string(TEMPLATE, {"credential": credential, "job": job, "calls": _rows(calls), **how})


def _rows(probes: Iterable[Probe]) -> list[dict[str, Any]]:
    return [{"probe": probe, "badge": verdict_badge(probe.verdict)} for probe in probes]
