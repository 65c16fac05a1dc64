"""What keeps the queue honest: jobs whose worker died, messages that were lost, rows that nobody needs any more."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from core.clock import now
from jobs.models import Job, JobState, WorkerHeartbeat
from jobs.services import broker, history

_BATCH = 500
logger = structlog.get_logger(__name__)

WORKER_STOPPED = {
    "code": "worker_stopped",
    "message": "The worker stopped in the middle of this, several times.",
    "hint": "Look at the worker's log for the cause (often too little memory), then retry the job.",
}


def timed_out(timeout_s: int) -> dict[str, str]:
    """The error of a job that ran out of time."""
    return {
        "code": "timed_out",
        "message": f"It was not finished after {timeout_s} s.",
        "hint": "Retry it; it goes on where it stopped if it saved its place.",
    }


def sweep() -> dict[str, int]:
    """Give dead workers' jobs to living ones, send lost messages again; returns how many of each.

    Safe to run at the same time as anything else, itself included: a change is made only if the row is still as seen.
    """
    at = now()
    counts = {"revived": 0, "ended": 0, "resent": 0}
    for job in Job.objects.abandoned(before=at - timedelta(seconds=settings.JOB_LEASE_S))[:_BATCH]:
        counts[_take_back(job, at)] += 1
    for job in _unheard(at):
        seen = Job.objects.filter(pk=job.pk, state=JobState.PENDING, queued_at=job.queued_at)
        if seen.update(queued_at=at) and broker.send(job):
            counts["resent"] += 1
    if any(counts.values()):
        logger.info("jobs.swept", **counts)
    return counts


def _take_back(job: Job, at: datetime) -> str:
    values = _after_death(job, at)
    with transaction.atomic():
        seen = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, lease=job.lease, heartbeat_at=job.heartbeat_at)
        if seen.update(lease="", **values):
            history.note(job.pk, values["state"], values.get("error", {}).get("message") or values.get("message", ""))
    if values["state"] == JobState.PENDING:
        broker.send(job)
    return "revived" if values["state"] in (JobState.PENDING, JobState.SUSPENDED) else "ended"


def _after_death(job: Job, at: datetime) -> dict[str, Any]:
    """What becomes of a job whose worker is gone."""
    if job.cancel_requested_at is not None:
        return {"state": JobState.CANCELLED, "finished_at": at}
    if job.suspend_requested_at is not None:
        return {"state": JobState.SUSPENDED, "suspend_requested_at": None, "message": ""}
    if job.started_at is not None and job.started_at + timedelta(seconds=job.timeout_s) < at:
        return {"state": JobState.TIMED_OUT, "error": timed_out(job.timeout_s), "finished_at": at}
    if job.attempts >= job.max_attempts:
        return {"state": JobState.FAILED, "error": WORKER_STOPPED, "finished_at": at}
    return {"state": JobState.PENDING, "queued_at": at, "message": "The worker stopped; trying again."}


def _unheard(at: datetime) -> list[Job]:
    """Pending jobs whose time has come, and as many as there are fewer messages than jobs that wait.

    Which job a message names does not matter (`runner.serve`): a long queue gets no message twice.
    """
    due = Job.objects.due(at)
    come = due.filter(run_after__lte=at, queued_at__lt=F("run_after"))
    found = list(come.order_by("created_at")[:_BATCH])
    patience = Q(queued_at__isnull=True) | Q(queued_at__lt=at - timedelta(seconds=settings.JOB_LEASE_S))
    for queue in settings.JOB_QUEUES:
        waiting = due.filter(queue=queue).exclude(pk__in=come.values("pk"))
        lost = waiting.count() - _messages(queue)
        if lost > 0:
            found += waiting.filter(patience).order_by("created_at")[: min(lost, _BATCH)]
    return found


def _messages(queue: str) -> float:
    try:
        return broker.depth(queue)
    except OSError:
        return math.inf  # nothing could be sent either


def _forget(before: datetime) -> int:
    """One batch of what finished before; not what somebody retries at this instant."""
    with transaction.atomic():
        old = Job.objects.finished_before(before).order_by().select_for_update(skip_locked=True)
        ids = list(old.values_list("pk", flat=True)[:_BATCH])
        Job.objects.filter(pk__in=ids).delete()
    return len(ids)


def prune() -> int:
    """Delete what finished longer than JOB_RETENTION_DAYS ago; returns how many jobs went."""
    before, gone = now() - timedelta(days=settings.JOB_RETENTION_DAYS), 0
    while count := _forget(before):
        gone += count
    WorkerHeartbeat.objects.filter(seen_at__lt=now() - timedelta(days=1)).delete()
    return gone
