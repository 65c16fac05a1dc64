"""Doing a job: claim it, run its handler, keep confirming it, and record how it ended — only while it is still ours."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import sleep
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.db.models import F, Q
from django.utils.module_loading import import_string

from core.clock import now
from core.errors import AppError, TooManyRequests, Unavailable
from core.ids import new_id
from core.redact import redact
from jobs.models import Job, JobState
from jobs.services.context import JobCancelled, JobContext, JobTimedOut, LeaseLost
from jobs.services.heartbeats import worker_seen
from jobs.services.sweeping import timed_out

Handler = Callable[[JobContext], dict[str, Any]]

# Failures that pass by themselves: tried again, later each time.
_PASSING = (Unavailable, TooManyRequests, OperationalError)
_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 5.0, 300.0
logger = structlog.get_logger(__name__)

BROKEN = {
    "code": "internal_error",
    "message": "Something went wrong inside.",
    "hint": "The log of the worker says what, next to this job's id.",
}


def run(job_id: str, *, worker: str = "") -> None:
    """Do the job, unless somebody else does, did, or stopped it. Never raises for what the job itself does."""
    job = _claim(job_id)
    if job is None:
        return
    context = JobContext.of(job, deadline=now() + timedelta(seconds=job.timeout_s))
    with structlog.contextvars.bound_contextvars(job_id=job.pk, job_type=job.type):
        with _confirmed(context, worker):
            values = _attempt(job, context)
        if _finish(context, values):
            logger.info("job.done", state=str(values["state"]), attempt=context.attempt)
        else:
            logger.warning("job.lease_lost")


def _claim(job_id: str) -> Job | None:
    at = now()
    free = Job.objects.filter(Q(run_after__isnull=True) | Q(run_after__lte=at), pk=job_id, state=JobState.PENDING)
    lease = new_id()
    if not free.update(
        state=JobState.RUNNING, lease=lease, heartbeat_at=at, started_at=at, message="", attempts=F("attempts") + 1
    ):
        return None
    return Job.objects.select_related("created_by").filter(pk=job_id, lease=lease).first()


def _attempt(job: Job, context: JobContext) -> dict[str, Any]:
    """What to write on the row when the handler has come to an end, whichever."""
    try:
        handler: Handler = import_string(settings.JOB_HANDLERS[job.type])
        result = handler(context)
        return {"state": JobState.COMPLETED, "progress": 100, "result": json.loads(json.dumps(result or {}))}
    except JobCancelled:
        return {"state": JobState.CANCELLED}
    except LeaseLost:
        return {}
    except (JobTimedOut, SoftTimeLimitExceeded):
        return {"state": JobState.TIMED_OUT, "error": timed_out(job.timeout_s)}
    except _PASSING as error:
        if job.attempts < job.max_attempts:
            delay_s = min(_BACKOFF_FIRST_S * 3 ** (job.attempts - 1), _BACKOFF_MOST_S) * random.uniform(0.8, 1.2)  # noqa: S311
            logger.info("job.again_later", error=type(error).__name__, delay_s=round(delay_s))
            return {
                "state": JobState.PENDING,
                "run_after": now() + timedelta(seconds=delay_s),
                "message": f"{redact(_message(error))[:200]} Trying again.",
            }
        return {"state": JobState.FAILED, "error": _error(error)}
    except AppError as error:
        return {"state": JobState.FAILED, "error": _error(error)}
    except Exception:  # whatever a handler does must end on its row, not in the worker's main loop
        logger.exception("job.broken")
        return {"state": JobState.FAILED, "error": BROKEN}


def _message(error: Exception) -> str:
    return error.message if isinstance(error, AppError) else "The database was not available."


def _error(error: Exception) -> dict[str, str]:
    if not isinstance(error, AppError):
        return {"code": "unavailable", "message": _message(error), "hint": "Retry the job."}
    return {"code": error.code, "message": redact(error.message), "hint": redact(error.hint)}


def _finish(context: JobContext, values: dict[str, Any]) -> bool:
    """Write how it ended; False when it is not ours any more. A database that is away for a moment is waited for."""
    if not values:
        return False
    if values["state"] != JobState.PENDING:
        values["finished_at"] = now()
    mine = Job.objects.filter(pk=context.job_id, lease=context.lease, state=JobState.RUNNING)
    for pause_s in (0.5, 2.0):
        try:
            return bool(mine.update(lease="", **values))
        except OperationalError:
            connection.close_if_unusable_or_obsolete()
            sleep(pause_s)
    return bool(mine.update(lease="", **values))


@contextmanager
def _confirmed(context: JobContext, worker: str) -> Iterator[None]:
    """Meanwhile, a thread with a connection of its own says every JOB_HEARTBEAT_S that the job is being done."""
    done = threading.Event()

    def confirm() -> None:
        try:
            while not done.wait(settings.JOB_HEARTBEAT_S):
                try:
                    context.beat()
                    if worker:
                        worker_seen(worker)
                except DatabaseError as error:
                    logger.warning("job.heartbeat_failed", error=type(error).__name__)
        finally:
            connection.close()

    thread = threading.Thread(target=confirm, name=f"heartbeat-{context.job_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
