"""Writes down which states a job came into: what its page shows as its history."""

from __future__ import annotations

from core.clock import now
from core.redact import redact
from jobs.models import Job, JobEvent, JobState

KEPT_PER_JOB = 50
_COMES_AGAIN = (JobState.PENDING, JobState.SUSPENDED)


def note(job_id: str, state: str, message: str = "") -> None:
    """One event, now; in the transaction of the change it tells of. Of many, the newest are kept."""
    JobEvent.objects.create(job_id=job_id, at=now(), state=state, message=redact(message)[:255])
    if state in _COMES_AGAIN:
        old = JobEvent.objects.filter(job_id=job_id).order_by("-id").values_list("pk", flat=True)[KEPT_PER_JOB:]
        JobEvent.objects.filter(pk__in=list(old)).delete()


def events_of(job: Job) -> list[JobEvent]:
    """The job's history, oldest first."""
    return list(job.events.all())
