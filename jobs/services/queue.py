"""Putting work into the queue, taking it out again, and waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict, InvalidInput, NotFound
from jobs.models import FINISHED, Job, JobState
from jobs.services import broker

_POLL_FIRST_S, _POLL_MOST_S = 0.02, 0.25


def enqueue(
    type: str,
    *,
    params: Mapping[str, Any],
    actor: Actor,
    tenant_id: str = "",
    idempotency_key: str = "",
    max_attempts: int = 3,
    timeout_s: int = 600,
    run_after: datetime | None = None,
) -> Job:
    """A job of that type, sent to the workers when the transaction commits.

    While one with the same type, tenant and (not empty) key is active, that one is returned instead, also when two
    callers ask at the same instant. `params` are ids and plain values, never a secret.
    """
    if type not in settings.JOB_HANDLERS:
        raise InvalidInput(
            f"There is no job of the type “{type}”.", hint=f"There are: {', '.join(sorted(settings.JOB_HANDLERS))}."
        )
    twins = Job.objects.active().filter(type=type, tenant_id=tenant_id, idempotency_key=idempotency_key)
    for last in (False, False, True):
        if idempotency_key and (twin := twins.first()):
            return twin
        try:
            with transaction.atomic():
                job = Job.objects.create(
                    type=type,
                    params=dict(params),
                    tenant_id=tenant_id,
                    created_by_id=actor.user_id,
                    idempotency_key=idempotency_key,
                    max_attempts=max(1, max_attempts),
                    timeout_s=max(1, timeout_s),
                    run_after=run_after,
                    queued_at=now(),
                )
        except IntegrityError:
            if last or not idempotency_key:
                raise
            continue  # a twin came first: join it, or take its place if it is over already
        _send_on_commit(job)
        return job
    raise AssertionError("unreachable")


def cancel(job: Job, *, actor: Actor) -> Job:
    """Stop it: at once when no worker has it, else at the handler's next look. A finished job is left as it is."""
    asked_at = now()
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, state__in=(JobState.PENDING, JobState.SUSPENDED))
        stopped = waiting.update(state=JobState.CANCELLED, cancel_requested_at=asked_at, finished_at=asked_at, lease="")
        asked = 0
        if not stopped:
            running = Job.objects.filter(pk=job.pk, state=JobState.RUNNING, cancel_requested_at__isnull=True)
            asked = running.update(cancel_requested_at=asked_at)
        if stopped or asked:
            audit.record("job.cancelled", actor=actor, tenant_id=job.tenant_id or None, target=str(job))
    return _fresh(job.pk)


def retry(job: Job, *, actor: Actor) -> Job:
    """Do a job that failed, timed out or was cancelled again, from its checkpoint.

    Returns the active job with the same key, when there is one by now. Raises Conflict for a job that is not over, or
    that has succeeded.
    """
    again = {
        "state": JobState.PENDING,
        "attempts": 0,
        "progress": 0,
        "message": "",
        "error": {},
        "result": {},
        "lease": "",
        "heartbeat_at": None,
        "cancel_requested_at": None,
        "run_after": None,
        "queued_at": now(),
        "started_at": None,
        "finished_at": None,
    }
    try:
        with transaction.atomic():
            over = Job.objects.filter(pk=job.pk, state__in=set(FINISHED) - {JobState.COMPLETED})
            changed = over.update(**again)
            if changed:
                audit.record("job.retried", actor=actor, tenant_id=job.tenant_id or None, target=str(job))
    except IntegrityError:
        twins = Job.objects.active().filter(type=job.type, tenant_id=job.tenant_id, idempotency_key=job.idempotency_key)
        if twin := twins.first():
            return twin
        raise
    found = _fresh(job.pk)
    if not changed:
        state = "has succeeded" if found.state == JobState.COMPLETED else f"is {found.get_state_display().lower()}"
        raise Conflict(f"This job {state}.", hint="Only a job that failed or was stopped can be done again.")
    _send_on_commit(found)
    return found


def wait(job_id: str, *, timeout_s: float) -> Job:
    """The job when it is finished, or in whatever state it is after `timeout_s`. Call it outside transactions.

    Between two looks the database connection is given back, so that many waiting requests hold none.
    """
    end, pause = monotonic() + timeout_s, _POLL_FIRST_S
    while True:
        job = _fresh(job_id)
        left = end - monotonic()
        if job.is_finished or left <= 0:
            return job
        if not connection.in_atomic_block:
            connection.close()
        sleep(min(pause, left))
        pause = min(pause * 1.5, _POLL_MOST_S)


def _fresh(job_id: str) -> Job:
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound("There is no such job.")
    return job


def _send_on_commit(job: Job) -> None:
    if job.run_after is not None and job.run_after > now():
        return  # sweeping sends it when its time has come
    # Robust: a broker that is away does not undo what was committed; sweeping sends it again.
    transaction.on_commit(partial(broker.send, job.pk, timeout_s=job.timeout_s), robust=True)
