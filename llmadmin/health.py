"""What a load balancer asks: is this process alive, and does the whole work?

/healthz answers as soon as the process serves requests, whatever else is broken: restarting it would not help.
/readyz tells the truth about the parts that an answer depends on, and is 503 when one of them fails.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooSlow
from functools import partial
from typing import Any

import structlog
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from psycopg_pool import PoolTimeout

from gateway import metrics, store
from jobs.services import broker
from jobs.services.heartbeats import WORKER_SILENT_AFTER_S, queue_ages_s

PART_TIMEOUT_S = 3.0
SNAPSHOT_OLD_AFTER_S = 15.0
NEEDED_QUEUE = "default"  # with the jobs that answers wait for: tests of keys
Ages = dict[str, float | None]

# A part that hangs keeps its thread, never the request; the next question then waits in line and is too slow as well.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="readiness")
logger = structlog.get_logger(__name__)


class NotReady(Exception):
    """A part does not work; the text is for everybody to read."""


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    parts = check_parts()
    ready = all(part["ok"] for part in parts.values())
    degraded = any(part.get("degraded") for part in parts.values())
    status = "not ready" if not ready else "degraded" if degraded else "ready"
    return JsonResponse({"status": status, "parts": parts}, status=200 if ready else 503)


def check_parts() -> dict[str, dict[str, Any]]:
    """Each part that an answer depends on: `ok`, and `detail` in words; `degraded` if it works, but less well."""
    database: Future[Ages] = _threads.submit(_read_heartbeats)
    reachable = _threads.submit(broker.check)
    return {
        "database": _told(partial(_database, database)),
        "broker": _told(partial(_broker, reachable)),
        "worker": _worker(database),
        "snapshot": _told(_snapshot),
        "spool": _told(_spool),
        "limits": _limits(),
    }


def _told(check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": check()}
    except NotReady as failure:
        return {"ok": False, "detail": str(failure)}


def queue_ages() -> Ages:
    """By queue, since when (s) no worker of it has been seen; nothing while the database does not answer in time."""
    try:
        return _threads.submit(_read_heartbeats).result(timeout=PART_TIMEOUT_S)
    except (TooSlow, DatabaseError, PoolTimeout):
        return {}


def _read_heartbeats() -> Ages:
    try:
        return queue_ages_s()
    finally:
        connection.close()


def _database(answer: Future[Ages]) -> str:
    try:
        answer.result(timeout=PART_TIMEOUT_S)
    except TooSlow:
        raise NotReady("does not answer in time") from None
    except (DatabaseError, PoolTimeout) as error:
        logger.warning("readiness.database", error=type(error).__name__)
        raise NotReady("does not answer") from None
    return "answers"


def _broker(answer: Future[None]) -> str:
    try:
        answer.result(timeout=PART_TIMEOUT_S)
    except TooSlow:
        raise NotReady("does not answer in time") from None
    except OSError as error:
        logger.warning("readiness.broker", error=str(error))
        raise NotReady("does not take messages") from None
    return "takes messages"


def _worker(answer: Future[Ages]) -> dict[str, Any]:
    """Without a worker for the needed queue nothing is ready; without one for another, less works."""
    try:
        ages = answer.result(timeout=0)
    except (TooSlow, DatabaseError, PoolTimeout):
        return {"ok": False, "detail": "unknown while the database does not answer"}
    served = {queue: age_s is not None and age_s <= WORKER_SILENT_AFTER_S for queue, age_s in ages.items()}
    told = ", ".join(f"{queue}: {_seen(age_s)}" for queue, age_s in ages.items())
    part = {"ok": served[NEEDED_QUEUE], "detail": told, "queues": served}
    return part if all(served.values()) or not part["ok"] else {**part, "degraded": True}


def _seen(age_s: float | None) -> str:
    if age_s is None:
        return "no worker has been seen yet"
    return f"{'seen' if age_s <= WORKER_SILENT_AFTER_S else 'last seen'} {age_s:.0f} s ago"


def _snapshot() -> str:
    age_s = store.age_s()
    if age_s is None:
        return "not served by this process"
    if age_s > SNAPSHOT_OLD_AFTER_S:
        raise NotReady(f"{age_s:.0f} s old")
    return f"{age_s:.1f} s old"


def _spool() -> str:
    """Records that wait for the database: this process makes no calls when no more may."""
    now = metrics.gauges()
    if now["spool_full"]:
        raise NotReady("full, or cannot be written: calls are refused")
    if not now["spool_backlog_bytes"]:
        return "nothing waits"
    return f"{now['spool_backlog_bytes']} bytes wait, for {now['spool_oldest_s']:.1f} s"


def _limits() -> dict[str, Any]:
    """Without Redis, calls go on: each process counts by itself, or those that are limited are refused."""
    if metrics.gauges()["redis_up"] is False:
        return {"ok": True, "degraded": True, "detail": "counted without Redis, which does not answer"}
    return {"ok": True, "detail": "counted"}
