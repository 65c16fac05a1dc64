"""What keeps the queue honest: jobs whose worker died, messages that were lost, rows that nobody needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import F, Q

from core.clock import now
from jobs.models import Job, JobState, WorkerHeartbeat
from jobs.services import broker

# A message may wait behind many others; only after this long is it sent again although the queue is not empty.
RESEND_ANYWAY_AFTER = timedelta(minutes=10)
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
        if seen.update(queued_at=at) and broker.send(job.pk, timeout_s=job.timeout_s):
            counts["resent"] += 1
    if any(counts.values()):
        logger.info("jobs.swept", **counts)
    return counts


def _take_back(job: Job, at: datetime) -> str:
    seen = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, lease=job.lease, heartbeat_at=job.heartbeat_at)
    over = {"finished_at": at, "lease": ""}
    if job.cancel_requested_at is not None:
        seen.update(state=JobState.CANCELLED, **over)
        return "ended"
    if job.started_at is not None and job.started_at + timedelta(seconds=job.timeout_s) < at:
        seen.update(state=JobState.TIMED_OUT, error=timed_out(job.timeout_s), **over)
        return "ended"
    if job.attempts >= job.max_attempts:
        seen.update(state=JobState.FAILED, error=WORKER_STOPPED, **over)
        return "ended"
    if seen.update(state=JobState.PENDING, lease="", queued_at=at, message="The worker stopped; trying again."):
        broker.send(job.pk, timeout_s=job.timeout_s)
    return "revived"


def _unheard(at: datetime) -> list[Job]:
    """Pending jobs whose message must have been lost, and those whose time has come."""
    due = Q(run_after__lte=at, queued_at__lt=F("run_after"))
    waited = Q(run_after__isnull=True) | Q(run_after__lte=at)
    patience = timedelta(seconds=settings.JOB_LEASE_S) if _empty() else RESEND_ANYWAY_AFTER
    lost = waited & (Q(queued_at__isnull=True) | Q(queued_at__lt=at - patience))
    return list(Job.objects.filter(state=JobState.PENDING).filter(due | lost).order_by("created_at")[:_BATCH])


def _empty() -> bool:
    try:
        return broker.depth() == 0
    except OSError:
        return False


def prune() -> int:
    """Delete what finished longer than JOB_RETENTION_DAYS ago; returns how many jobs went."""
    before, gone = now() - timedelta(days=settings.JOB_RETENTION_DAYS), 0
    while ids := list(Job.objects.finished_before(before).order_by().values_list("pk", flat=True)[:_BATCH]):
        gone += len(ids)
        Job.objects.filter(pk__in=ids).delete()
    WorkerHeartbeat.objects.filter(seen_at__lt=now() - timedelta(days=1)).delete()
    return gone
