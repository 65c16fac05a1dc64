"""Putting work into the queue, taking it out again, and waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from time import monotonic, sleep
from typing import Any

from django.db import IntegrityError, connection, transaction

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict, NotFound
from jobs.models import Job, JobState
from jobs.services import broker, history, types
from jobs.services.types import JobType

_POLL_FIRST_S, _POLL_MOST_S = 0.02, 0.25


def enqueue(
    type: str,
    *,
    params: Mapping[str, Any],
    actor: Actor,
    tenant_id: str = "",
    dedupe_key: str = "",
    max_attempts: int | None = None,
    timeout_s: int | None = None,
    run_after: datetime | None = None,
) -> Job:
    """A job of that type, sent to the workers when the transaction commits.

    While one with the same type, tenant and (not empty) key is active, that one is returned instead, also when two
    callers ask at the same instant. `params` are ids and plain values, never a secret; attempts and time are the
    type's unless given. Raises InvalidInput for params that the type does not have.

    For our own code, which has checked who asks: what comes from outside goes through `requests.submit`.
    """
    job_type = types.named(type)
    return add(
        job_type,
        params=job_type.check(params),
        actor=actor,
        tenant_id=tenant_id,
        dedupe_key=dedupe_key,
        max_attempts=max(1, job_type.max_attempts if max_attempts is None else max_attempts),
        timeout_s=max(1, job_type.timeout_s if timeout_s is None else timeout_s),
        run_after=run_after,
    )[0]


def add(
    job_type: JobType, *, params: Mapping[str, Any], actor: Actor, tenant_id: str, dedupe_key: str, **more: Any
) -> tuple[Job, bool]:
    """The row, and whether it is one that was active before. For checked params."""
    twins = Job.objects.active().filter(type=job_type.id, tenant_id=tenant_id, dedupe_key=dedupe_key)
    values = {"max_attempts": job_type.max_attempts, "timeout_s": job_type.timeout_s, **more}
    for last in (False, False, True):
        with transaction.atomic():  # locked: while a caller's own transaction lasts, nobody deletes what it joined
            twin = twins.select_for_update().first() if dedupe_key else None
        if twin is not None:
            return twin, True
        try:
            with transaction.atomic():
                job = Job.objects.create(
                    type=job_type.id,
                    queue=job_type.queue,
                    params=dict(params),
                    tenant_id=tenant_id,
                    created_by_id=actor.user_id,
                    dedupe_key=dedupe_key,
                    queued_at=now(),
                    **values,
                )
        except IntegrityError:
            if last or not dedupe_key:
                raise
            continue  # a twin came first: join it, or take its place if it is over already
        _send_on_commit(job)
        return job, False
    raise AssertionError("unreachable")


# --- What may be asked of a job -------------------------------------------------------------------------------------
#
#   pending ──▶ running ──▶ completed                 cancel   pending, suspended: at once; running: at its next look
#     ▲  ▲ ╲      │   ╲──▶ failed, timed_out ─╮       suspend  the same, for types that can
#     │  │  ╲▶ suspended                      │retry  resume   suspended ▶ pending
#     │  ╰──resume─╯                          │       retry    failed, timed_out, cancelled ▶ pending
#     ╰───────────────────── cancelled ◀──────╯       delete   what is over


def cancel(job: Job, *, actor: Actor) -> Job:
    """Stop it: at once when no worker has it, else at the handler's next look. A finished job is left as it is."""
    with transaction.atomic():
        row = _locked(job)
        if row.state == JobState.RUNNING and row.cancel_requested_at is None:
            _change(row, "job.cancelled", actor, cancel_requested_at=now())
        elif row.state in (JobState.PENDING, JobState.SUSPENDED):
            at = now()
            over = {"state": JobState.CANCELLED, "cancel_requested_at": at, "finished_at": at, "lease": ""}
            _change(row, "job.cancelled", actor, **over)
    return row


def suspend(job: Job, *, actor: Actor) -> Job:
    """Let it rest: at once when no worker has it, else at the handler's next look; its checkpoint stays.

    Raises Conflict for a type that cannot be suspended, and for a job that is over or being cancelled.
    """
    with transaction.atomic():
        row = _locked(job)
        job_type = types.find(row.type)
        if job_type is None or not job_type.suspendable:
            raise Conflict(
                f"A job “{row.type}” cannot be suspended.",
                hint="Cancel it; a retry goes on where it stopped.",
                code="not_suspendable",
            )
        if row.is_finished or row.cancel_requested_at is not None:
            raise _not_now(row, "suspended", "Only a pending or running job can be suspended.")
        if row.state == JobState.RUNNING and row.suspend_requested_at is None:
            _change(row, "job.suspended", actor, suspend_requested_at=now())
        elif row.state == JobState.PENDING:
            _change(row, "job.suspended", actor, state=JobState.SUSPENDED, run_after=None, message="")
    return row


def resume(job: Job, *, actor: Actor) -> Job:
    """Go on with a suspended job from its checkpoint. Raises Conflict for any other."""
    with transaction.atomic():
        row = _locked(job)
        if row.state != JobState.SUSPENDED:
            stopping = row.state == JobState.RUNNING and row.suspend_requested_at is not None
            hint = (
                "It is still stopping: ask again in a moment." if stopping else "Only a suspended job can be resumed."
            )
            raise _not_now(row, "resumed", hint)
        _change(row, "job.resumed", actor, state=JobState.PENDING, attempts=0, suspend_requested_at=None, **_soon())
        _send_on_commit(row)
    return row


def retry(job: Job, *, actor: Actor) -> Job:
    """Do a job that failed, timed out or was cancelled again, from its checkpoint.

    Returns the active job with the same key, when there is one by now. Raises Conflict for a job that is not over, or
    that has succeeded.
    """
    try:
        with transaction.atomic():
            row = _locked(job)
            if not row.is_finished or row.state == JobState.COMPLETED:
                raise _not_now(row, "retried", "Only a job that failed or was stopped can be done again.")
            again = {"attempts": 0, "progress": 0, "progress_detail": {}, "error": {}, "result": {}, "lease": ""}
            again |= dict.fromkeys(("cancel_requested_at", "suspend_requested_at", "started_at", "finished_at"))
            _change(row, "job.retried", actor, state=JobState.PENDING, heartbeat_at=None, **again, **_soon())
            _send_on_commit(row)
    except IntegrityError:
        twins = Job.objects.active().filter(type=job.type, tenant_id=job.tenant_id, dedupe_key=job.dedupe_key)
        if twin := twins.first():
            return twin
        raise
    return row


def delete(job: Job, *, actor: Actor) -> None:
    """Forget a job that is over. Raises Conflict for one that is not."""
    with transaction.atomic():
        row = _locked(job)
        if not row.is_finished:
            raise _not_now(row, "deleted", "Cancel it first.")
        audit.record("job.deleted", actor=actor, tenant_id=row.tenant_id or None, target=str(row), state=row.state)
        row.delete()


def _soon() -> dict[str, Any]:
    return {"message": "", "run_after": None, "queued_at": now()}


def _locked(job: Job) -> Job:
    """The row as it is now; nobody changes its state until the transaction ends."""
    row = Job.objects.select_for_update(of=("self",)).select_related("created_by").filter(pk=job.pk).first()
    if row is None:
        raise NotFound("There is no such job.")
    return row


def _change(row: Job, action: str, actor: Actor, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    Job.objects.filter(pk=row.pk).update(**values)  # the rest of the row may be the worker's to write
    done = f"{action.partition('.')[2]} by {actor.label}"
    history.note(row.pk, row.state, done if "state" in values else f"to be {done}")
    audit.record(action, actor=actor, tenant_id=row.tenant_id or None, target=str(row))


def _not_now(row: Job, done: str, hint: str) -> Conflict:
    state = "being cancelled" if row.cancel_requested_at and not row.is_finished else row.get_state_display().lower()
    return Conflict(f"This job is {state} and cannot be {done}.", hint=hint, code="wrong_state")


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
    transaction.on_commit(partial(broker.send, job), robust=True)
