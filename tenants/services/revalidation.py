"""Tests saved credentials again from time to time, within a daily budget of billed calls."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from core.audit import SYSTEM
from core.clock import now
from jobs.services import queue
from providers.models import VALID
from tenants.models import Credential, Probe
from tenants.services import credentials, drafts

AT_ONCE = 50
BATCH = 1000
PATIENCE = timedelta(hours=1)


def billed_calls_left() -> int:
    """How many billed probe calls today's budget still allows (days are UTC)."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    return max(0, settings.PROBE_DAILY_BUDGET - Probe.objects.billed_since(today).count())


def prune_probes() -> int:
    """Delete probes older than PROBE_RETENTION_DAYS, oldest first; how many there were."""
    before, gone = now() - timedelta(days=settings.PROBE_RETENTION_DAYS), 0
    while True:
        oldest = list(Probe.objects.order_by("pk").values_list("pk", "created_at")[:BATCH])
        old = [pk for pk, created_at in oldest if created_at < before]
        Probe.objects.filter(pk__in=old).delete()
        gone += len(old)
        if len(old) < BATCH:
            return gone


def enqueue_due() -> int:
    """Queue a test of each credential that is due; free calls only once the budget is spent. How many were queued."""
    drafts.discard_abandoned()
    left = billed_calls_left()
    in_use = Credential.objects.saved().filter(status=VALID, tenant__status=VALID, factory__status=VALID)
    due = in_use.filter(next_check_at__lte=now()).order_by("next_check_at")
    queued = 0
    for credential in due.select_related("factory", "tenant")[:AT_ONCE]:
        with transaction.atomic():
            # Whoever moves the date queues the job: two schedulers never test the same key twice.
            mine = Credential.objects.filter(pk=credential.pk, next_check_at=credential.next_check_at)
            if not mine.update(next_check_at=now() + PATIENCE):
                continue
            queue.enqueue(
                "probe",
                params={"credential_id": credential.pk, "pairs": None, "free_only": left <= 0},
                tenant_id=credential.tenant_id,
                actor=SYSTEM,
                dedupe_key=credentials.test_key(credential) + (":free" if left <= 0 else ""),
                timeout_s=credentials.probe_job_timeout_s(credential.factory, 0),
            )
        left -= 1
        queued += 1
    return queued
