"""A job's progress as server-sent events: `GET /jobs/{id}/events`.

However many listen, one task of the process looks at all their jobs twice a second, in one query. A listener holds a
socket and a few kilobytes: no database connection, and no thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from time import monotonic
from typing import Any, cast
from weakref import WeakKeyDictionary

import structlog
from asgiref.sync import SyncToAsync, sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings

from core.drf import CallerThrottle, as_app_error, problem, problem_page
from core.errors import AppError, NotFound, TooManyRequests, Unauthenticated
from jobs.api.access import Caller
from jobs.api.serializers import JobSerializer
from jobs.models import FINISHED, Job

LOOK_EVERY_S = 0.5
COMMENT_EVERY_S = 15.0  # so that proxies do not take the connection for dead
ENDS_AFTER_S = 3600.0  # a browser comes back by itself, with its credentials looked at anew
RETRY_MS = 2000
OF_ONE_CALLER = 4  # a token or user has at most this part of JOB_EVENT_LISTENERS: a quarter
SHOWN = ("state", "progress", "progress_detail", "message", "attempts", "cancel_requested_at", "suspend_requested_at")

Seen = dict[str, Any]
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-events")
logger = structlog.get_logger(__name__)


class Box:
    """Holds the newest that was seen of one job for one listener; None when the job is gone."""

    def __init__(self, seen: Seen | None, caller: str) -> None:
        self.seen = seen
        self.caller = caller
        self.changed = asyncio.Event()

    def put(self, seen: Seen | None) -> None:
        if seen != self.seen:
            self.seen = seen
            self.changed.set()

    async def next(self) -> Seen | None:
        """What it holds, after a change. Raises TimeoutError when there is none for a while."""
        await asyncio.wait_for(self.changed.wait(), COMMENT_EVERY_S)
        self.changed.clear()
        return self.seen


class Watch:
    """Looks at the jobs that somebody listens to, for all listeners of one event loop."""

    def __init__(self) -> None:
        self.boxes: dict[str, set[Box]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> int:
        return sum(map(len, self.boxes.values()))

    def has_place(self, caller: str) -> bool:
        """Whether one more may listen; no caller takes so many places that none are left for others."""
        most = settings.JOB_EVENT_LISTENERS
        theirs = sum(box.caller == caller for boxes in self.boxes.values() for box in boxes)
        return self.listeners < most and theirs < max(1, most // OF_ONE_CALLER)

    def join(self, job_id: str, seen: Seen | None, caller: str) -> Box:
        box = Box(seen, caller)
        self.boxes.setdefault(job_id, set()).add(box)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        return box

    def leave(self, job_id: str, box: Box) -> None:
        others = self.boxes.get(job_id, set())
        others.discard(box)
        if not others:
            self.boxes.pop(job_id, None)

    async def _look(self) -> None:
        while self.boxes:
            asked = list(self.boxes)
            try:
                found = await asyncio.get_running_loop().run_in_executor(_reader, _read, asked)
            except DatabaseError as error:
                logger.warning("job_events.not_read", error=type(error).__name__)
                await asyncio.sleep(10 * LOOK_EVERY_S)
                continue
            for job_id in asked:
                for box in self.boxes.get(job_id, ()):
                    box.put(found.get(job_id))
            await asyncio.sleep(LOOK_EVERY_S)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def watch_of_loop() -> Watch:
    return _watches.setdefault(asyncio.get_running_loop(), Watch())


def _read(job_ids: list[str]) -> dict[str, Seen]:
    try:
        rows = Job.objects.filter(pk__in=job_ids).values("pk", *SHOWN)
        return {row.pop("pk"): dict(row) for row in rows}
    finally:
        connection.close()


async def events(request: HttpRequest, pk: str) -> HttpResponse | StreamingHttpResponse:
    """`progress` on every change, `end` with the whole job when it is over; comments in between."""
    if request.method != "GET":
        body = problem_page(request, AppError("Only GET is allowed here.", code="method_not_allowed"))
        body.status_code, body["Allow"] = 405, "GET"
        return body
    try:
        seen, caller = await sync_to_async(_first_look)(request, pk)
        watch = watch_of_loop()
        if not watch.has_place(caller):
            raise TooManyRequests("Too many listen to jobs right now.", retry_after_s=10, hint="Poll the job instead.")
    except Exception as error:
        known = as_app_error(error)
        if known is None:
            raise
        return _refused(request, known)
    return StreamingHttpResponse(
        _told(watch, pk, seen, caller, request.headers.get("Last-Event-ID", "")),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _first_look(request: HttpRequest, pk: str) -> tuple[Seen, str]:
    """What there is to see, for a caller who may see it, and who that is; raises as the other views do."""
    asked = Request(request, authenticators=[cast(Any, one)() for one in api_settings.DEFAULT_AUTHENTICATION_CLASSES])
    if not asked.user or not asked.user.is_authenticated:
        raise Unauthenticated("Authentication credentials were not provided.", hint="Send Authorization: Bearer …")
    throttle: Any = CallerThrottle()
    if not throttle.allow_request(asked, None):
        raise TooManyRequests("Too many requests.", retry_after_s=int(throttle.wait() or 1) + 1)
    caller = Caller.of(asked)
    seen = caller.rows().filter(pk=pk).values(*SHOWN).first()
    if seen is None:
        raise NotFound("There is no such job.")
    return dict(seen), caller.principal.key


def _refused(request: HttpRequest, error: AppError) -> HttpResponse:
    answer = problem_page(request, error)
    if isinstance(error, TooManyRequests):
        answer["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="llmadmin"'
    return answer


async def _told(watch: Watch, job_id: str, seen: Seen | None, caller: str, last_id: str) -> AsyncIterator[str]:
    box = watch.join(job_id, seen, caller)
    try:
        await _let_go_of_thread()
        end, told = monotonic() + ENDS_AFTER_S, last_id
        yield f"retry: {RETRY_MS}\n\n"
        while seen is not None:
            if (mark := _mark(seen)) != told:
                told = mark
                yield _event("progress", mark, json.dumps(seen, default=str))
            if seen["state"] in FINISHED or monotonic() > end:
                break
            try:
                seen = await box.next()
            except TimeoutError:
                yield ": still there\n\n"
        if seen is None:
            yield _event("end", "gone", json.dumps(problem(NotFound("The job was deleted."))))
        elif seen["state"] in FINISHED:
            yield _event("end", _mark(seen), await asyncio.get_running_loop().run_in_executor(_reader, _whole, job_id))
    finally:
        watch.leave(job_id, box)


def _mark(seen: Seen) -> str:
    """The event's id: the same for the same news, so that who comes back is not told twice."""
    return sha256(json.dumps(seen, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _event(name: str, mark: str, data: str) -> str:
    return f"event: {name}\nid: {mark}\ndata: {data}\n\n"


def _whole(job_id: str) -> str:
    try:
        job = Job.objects.select_related("created_by").filter(pk=job_id).first()
        body = JobSerializer(job).data if job else problem(NotFound("The job was deleted."))
        return bytes(JSONRenderer().render(body)).decode()
    finally:
        connection.close()


def _close_connection() -> None:
    connection.close()  # looked up here: it is this thread's


async def _let_go_of_thread() -> None:
    """Django keeps a thread, with its database connection, for each request until its answer is over: here, hours."""
    await sync_to_async(_close_connection)()
    context = SyncToAsync.thread_sensitive_context.get(None)
    thread = SyncToAsync.context_to_thread_executor.pop(context, None) if context is not None else None
    if thread is not None:
        thread.shutdown(wait=False)
