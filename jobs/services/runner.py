"""Doing a job: claim it, run its handler, keep confirming it, and record how it ended — only while it is still ours."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import structlog
from billiard.pool import soft_timeout_sighandler
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction
from django.db.models import F
from django.utils.module_loading import import_string

from core.clock import now
from core.errors import AppError, TooManyRequests, Unavailable
from core.ids import new_id
from core.redact import redact
from jobs.models import Job, JobState
from jobs.services import broker, history, leaving, turns, types
from jobs.services.context import (
    JobCancelled,
    JobContext,
    JobStalled,
    JobStopped,
    JobSuspended,
    JobTimedOut,
    LeaseLost,
    WorkerLeaves,
)
from jobs.services.heartbeats import worker_seen
from jobs.services.plain import storable
from jobs.services.sweeping import timed_out
from jobs.services.types import JobType

Handler = Callable[[JobContext], dict[str, Any] | None]

# Failures that pass by themselves: tried again, later each time.
_PASSING = (Unavailable, TooManyRequests, OperationalError)
_BACKOFF_MOST_S = 300.0
_WATCH_EVERY_S = 0.5
_CLAIM_TRIES = 50  # others may be quicker
_INTERRUPT_AFTER_S = 10.0  # a handler that was told to stop and does not is torn out of whatever it waits for
_ONLY_UNDER_WAY = ("step", "rate_bytes_per_s", "eta_s")  # of the progress's details
logger = structlog.get_logger(__name__)

BROKEN = {
    "code": "internal_error",
    "message": "Something went wrong inside.",
    "hint": "The log of the worker says what, next to this job's id.",
}


def serve(job_id: str, *, limit_s: float, worker: str = "") -> None:
    """Do the next job that waits in that job's queue (`turns`): brokers keep their messages in order only roughly.

    `limit_s` is the time limit that the message carries, which a job's own must not exceed.
    """
    named = Job.objects.filter(pk=job_id).first()
    if named is None:
        return
    if leaving.was_said():  # this message was taken before
        broker.send(named)
        return
    waiting = Job.objects.due(now()).filter(queue=named.queue)
    fitting = waiting.filter(timeout_s__lte=limit_s)
    for _ in range(_CLAIM_TRIES):
        job = turns.next_in_turn(fitting, queue=named.queue)
        if job is None:
            break
        if run(job.pk, worker=worker):
            return
    if left := waiting.order_by("created_at", "id").first():  # its own message was spent on another one
        broker.send(left)


def run(job_id: str, *, worker: str = "") -> bool:
    """Do the job; False if somebody else does, did, or stopped it. Never raises for what the job itself does."""
    job = _claim(job_id)
    if job is None:
        return False
    job_type = types.find(job.type)
    context = JobContext.of(
        job,
        deadline=now() + timedelta(seconds=job.timeout_s),
        stall_after_s=job_type.stall_after_s if job_type else None,
    )
    with structlog.contextvars.bound_contextvars(job_id=job.pk, job_type=job.type):
        inside = _Inside()
        with _confirmed(context, worker, inside):
            values = storable(_attempt(job, job_type, context, inside))
        if state := _finish(context, values):
            logger.info("job.done", state=state, attempt=context.attempt)
            if context.stopped_by is WorkerLeaves and state == JobState.PENDING:
                broker.send(job)
        else:
            logger.warning("job.lease_lost")
    return True


def _claim(job_id: str) -> Job | None:
    at, lease = now(), new_id()
    begun = {"state": JobState.RUNNING, "lease": lease, "heartbeat_at": at, "started_at": at, "progress_at": None}
    with transaction.atomic():
        if not Job.objects.due(at).filter(pk=job_id).update(**begun, message="", attempts=F("attempts") + 1):
            return None
        job = Job.objects.select_related("created_by").get(pk=job_id)
        history.note(job_id, JobState.RUNNING, f"attempt {job.attempts} of {job.max_attempts}")
    return job


# --- The attempt ----------------------------------------------------------------------------------------------------


class _Inside:
    """Whether the handler is at work, so that nothing after it is interrupted in its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = self._interrupted = False

    def enter(self) -> None:
        self._active = threading.current_thread() is threading.main_thread()

    def leave(self) -> None:
        with self._lock:
            self._active = False
        if self._interrupted:
            sleep(0.05)  # what was sent arrives here at the latest

    def interrupt(self) -> None:
        """Raise SoftTimeLimitExceeded in the handler, as Celery does; nothing outside of a worker's own process."""
        with self._lock:
            ours = signal.getsignal(signal.SIGUSR1) is soft_timeout_sighandler
            if self._active and ours and not self._interrupted:
                self._interrupted = True
                os.kill(os.getpid(), signal.SIGUSR1)


def _attempt(job: Job, job_type: JobType | None, context: JobContext, inside: _Inside) -> dict[str, Any]:
    """What to write on the row when the handler has come to an end, whichever."""
    try:
        handler: Handler = import_string(types.must_find(job.type).handler)
        inside.enter()
        try:
            result = handler(context)
        finally:
            inside.leave()
        return {
            "state": JobState.COMPLETED,
            "progress": 100,
            "message": "",  # what was said on the way would stand there as if it still went on
            "result": json.loads(json.dumps(result or {}, allow_nan=False)),
        }
    except (Exception, asyncio.CancelledError) as error:  # it must end on its row, not in the worker's main loop
        reason = context.stopped_by or (type(error) if isinstance(error, JobStopped) else None)
        if reason is None and isinstance(error, SoftTimeLimitExceeded):
            reason = JobTimedOut
        if reason is not None:
            return _stopped(job, job_type, reason)
        if isinstance(error, _PASSING):
            return _again(job, job_type, _error(error))
        if isinstance(error, AppError):
            return {"state": JobState.FAILED, "error": _error(error)}
        logger.exception("job.broken")
        return {"state": JobState.FAILED, "error": BROKEN}


def _stopped(job: Job, job_type: JobType | None, reason: type[JobStopped]) -> dict[str, Any]:
    if reason is JobCancelled:
        return {"state": JobState.CANCELLED}
    if reason is JobSuspended:
        return {"state": JobState.SUSPENDED}
    if reason is LeaseLost:
        return {}
    if reason is WorkerLeaves:  # no fault of the job's: it keeps its attempt
        again = "The worker was stopped; another one goes on."
        return {"state": JobState.PENDING, "attempts": job.attempts - 1, "queued_at": now(), "message": again}
    if reason is JobStalled:
        silent_s = job_type.stall_after_s if job_type else 0
        return _again(job, job_type, stalled(silent_s or 0))
    return {"state": JobState.TIMED_OUT, "error": timed_out(job.timeout_s)}


def _again(job: Job, job_type: JobType | None, error: dict[str, str]) -> dict[str, Any]:
    """Pending once more, later each time; failed after the last attempt."""
    if job.attempts >= job.max_attempts:
        return {"state": JobState.FAILED, "error": error}
    first_s = job_type.retry_delay_s if job_type else 5.0
    delay_s = min(first_s * 3 ** (job.attempts - 1), _BACKOFF_MOST_S) * random.uniform(0.8, 1.2)  # noqa: S311
    logger.info("job.again_later", error=error["code"], delay_s=round(delay_s))
    return {
        "state": JobState.PENDING,
        "run_after": now() + timedelta(seconds=delay_s),
        "message": f"{error['message'][:200]} Trying again.",
    }


def stalled(silent_s: float) -> dict[str, str]:
    """The error of a job that reported nothing any more."""
    return {
        "code": "stalled",
        "message": f"Nothing new was heard of it for {silent_s:.0f} s.",
        "hint": "See whether what it waits for still works, then retry it; it goes on where it stopped.",
    }


def _error(error: Exception) -> dict[str, str]:
    if not isinstance(error, AppError):
        return {"code": "unavailable", "message": "The database was not available.", "hint": "Retry the job."}
    return {"code": error.code, "message": redact(error.message), "hint": redact(error.hint)}


# --- The end --------------------------------------------------------------------------------------------------------


def _finish(context: JobContext, values: dict[str, Any]) -> str:
    """Write how it ended, and return the state; "" when it is not ours any more.

    A database that is away for a moment is waited for.
    """
    if not values:
        return ""
    for pause_s in (0.5, 2.0):
        try:
            return _write_end(context, values)
        except OperationalError:
            connection.close_if_unusable_or_obsolete()
            sleep(pause_s)
    return _write_end(context, values)


def _write_end(context: JobContext, values: dict[str, Any]) -> str:
    context.flush()
    with transaction.atomic():
        mine = Job.objects.select_for_update().filter(pk=context.job_id, lease=context.lease, state=JobState.RUNNING)
        job = mine.first()
        if job is None:
            return ""
        ended = _as_asked(job, values)
        if ended["state"] not in (JobState.PENDING, JobState.SUSPENDED):
            ended["finished_at"] = now()
            ended["progress_detail"] = {
                name: value for name, value in job.progress_detail.items() if name not in _ONLY_UNDER_WAY
            }
        mine.update(lease="", **ended)
        message = ended.get("error", {}).get("message") or ended.get("message", "")
        history.note(job.pk, ended["state"], message)
    return str(ended["state"])


def _as_asked(job: Job, values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for while the attempt came to its end decides whether the job goes on."""
    if values["state"] not in (JobState.PENDING, JobState.SUSPENDED):
        return dict(values)
    if job.cancel_requested_at is not None:
        return {"state": JobState.CANCELLED}
    if job.suspend_requested_at is not None:
        return {"state": JobState.SUSPENDED, "suspend_requested_at": None, "run_after": None, "message": ""}
    return dict(values)


@contextmanager
def _confirmed(context: JobContext, worker: str, inside: _Inside) -> Iterator[None]:
    """Meanwhile, a thread with a connection of its own confirms every JOB_HEARTBEAT_S that the job is being done,
    and looks twice a second whether it still should be."""
    done = threading.Event()

    def watch() -> None:
        beat_at, stop_since, leaves_at = monotonic() + settings.JOB_HEARTBEAT_S, 0.0, 0.0
        try:
            while not done.wait(min(_WATCH_EVERY_S, settings.JOB_HEARTBEAT_S)):
                try:
                    context.watch()
                    if monotonic() >= beat_at:
                        beat_at = monotonic() + settings.JOB_HEARTBEAT_S
                        context.beat()
                        if worker:
                            worker_seen(worker)
                except DatabaseError as error:
                    connection.close_if_unusable_or_obsolete()
                    logger.warning("job.heartbeat_failed", error=type(error).__name__)
                if leaving.was_said():
                    leaves_at = leaves_at or monotonic() + leaving.GRACE_S
                    if monotonic() >= leaves_at:
                        context.stop(WorkerLeaves)
                if context.stop_seen.is_set():
                    stop_since = stop_since or monotonic()
                    if monotonic() - stop_since > _INTERRUPT_AFTER_S:
                        inside.interrupt()
        finally:
            connection.close()

    thread = threading.Thread(target=watch, name=f"watch-{context.job_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
