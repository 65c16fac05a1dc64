"""What a job's handler is given: its parameters, and the ways to report, to save its place and to stop."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, TypeVar

import structlog
from django.db import connection

from core.audit import Actor
from core.clock import now
from core.redact import redact
from jobs.models import Job, JobState
from jobs.services.plain import storable

_SAY_AT_MOST_EVERY_S = 0.25
_LOOK_AT_MOST_EVERY_S = 0.5
_RATE_OVER_S = 5.0
_T = TypeVar("_T")
Reason = type["JobStopped"]
logger = structlog.get_logger(__name__)


class JobStopped(Exception):
    """The handler is to end now. Raised by JobContext; a handler lets it through."""


class JobCancelled(JobStopped):
    """Somebody asked for it."""


class JobSuspended(JobStopped):
    """Somebody asked for a pause: it goes on from its checkpoint when they say so."""


class JobTimedOut(JobStopped):
    """The time it was given is over."""


class JobStalled(JobStopped):
    """It reported nothing new for longer than its type allows; it is tried again from its checkpoint."""


class WorkerLeaves(JobStopped):
    """The worker is being stopped; another one goes on from the checkpoint."""


class LeaseLost(JobStopped):
    """Another worker has taken the job over, or the row is gone; what this one does no longer counts."""


@dataclass
class _Rate:
    """Bytes a second, smoothed over the last seconds; a total that starts anew does not count as going back."""

    per_s: float | None = None
    _bytes: int = 0
    _at: float = 0.0

    def add(self, done_bytes: int, at: float) -> None:
        if not self._at or done_bytes < self._bytes:
            self._bytes, self._at = done_bytes, at
            return
        passed_s = at - self._at
        if passed_s < _SAY_AT_MOST_EVERY_S:
            return
        seen = (done_bytes - self._bytes) / passed_s
        weight = 1.0 if self.per_s is None else 1 - math.exp(-passed_s / _RATE_OVER_S)
        self.per_s = (self.per_s or 0.0) + weight * (seen - (self.per_s or 0.0))
        self._bytes, self._at = done_bytes, at


@dataclass(eq=False)
class JobContext:
    """One attempt at one job.

    Beside the handler, a thread of the runner looks at the row twice a second, so that a handler that waits for
    something else need not: it waits on `stop_seen`, or hands in what ends the waiting with `on_stop`.
    """

    job_id: str
    type: str
    params: Mapping[str, Any]
    tenant_id: str
    actor: Actor
    attempt: int
    checkpoint: dict[str, Any]
    deadline: datetime
    lease: str
    stall_after_s: float | None = None
    stop_seen: threading.Event = field(default_factory=threading.Event)
    stopped_by: Reason | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _callbacks: list[Callable[[], object]] = field(default_factory=list)
    _said: tuple[Any, ...] = ()
    _unsaid: dict[str, Any] = field(default_factory=dict)
    _said_at: float = -math.inf
    _looked_at: float = -math.inf
    _moved_at: float = field(default_factory=monotonic)
    _rate: _Rate = field(default_factory=_Rate)

    @classmethod
    def of(cls, job: Job, *, deadline: datetime, stall_after_s: float | None = None) -> JobContext:
        """The context of a job that has just been claimed."""
        label = job.created_by.get_username() if job.created_by else "system"
        return cls(
            job_id=job.pk,
            type=job.type,
            params=job.params,
            tenant_id=job.tenant_id,
            actor=Actor(user_id=job.created_by_id, label=label),
            attempt=job.attempts,
            checkpoint=dict(job.checkpoint),
            deadline=deadline,
            lease=job.lease,
            stall_after_s=stall_after_s,
        )

    # --- Reporting --------------------------------------------------------------------------------------------------

    def progress(
        self,
        percent: float | None = None,
        message: str = "",
        *,
        done_bytes: int | None = None,
        total_bytes: int | None = None,
        step: str = "",
    ) -> None:
        """Show how far it is. Cheap enough for every step of a loop, from any thread, and inside of a coroutine.

        `percent` is 0 to 100; left out, it is worked out from the bytes, or stays as it was. `message` is a word for
        people. From `done_bytes` of `total_bytes` follow the rate and the time left; `step` names what they belong to
        (“pulling 6a0746a1ec1a”). Whatever is new here also counts as a sign of life: see `stall_after_s` of the type.
        """
        with self._lock:
            if percent is None and done_bytes is not None and total_bytes:
                percent = 100 * done_bytes / total_bytes
            detail = self._detail(done_bytes, total_bytes, step)
            values: dict[str, Any] = {"message": storable(redact(message))[:255], "progress_detail": detail}
            if percent is not None and math.isfinite(percent):
                values["progress"] = max(0, min(100, int(percent)))
            said = (values.get("progress"), values["message"], done_bytes, total_bytes, step)
            if said == self._said:
                return
            self._said, self._moved_at = said, monotonic()
            self._unsaid |= values
            early = monotonic() - self._said_at < _SAY_AT_MOST_EVERY_S and values.get("progress") != 100
        if not early and not _in_event_loop():
            self.flush()

    def _detail(self, done_bytes: int | None, total_bytes: int | None, step: str) -> dict[str, Any]:
        detail: dict[str, Any] = {"step": storable(redact(step))[:100]} if step else {}
        if done_bytes is None:
            return detail
        done_bytes = max(0, int(done_bytes))
        self._rate.add(done_bytes, monotonic())
        detail["done_bytes"] = done_bytes
        if self._rate.per_s is not None:
            detail["rate_bytes_per_s"] = round(self._rate.per_s)
        if total_bytes is not None and total_bytes >= 0:
            detail["total_bytes"] = int(total_bytes)
            if self._rate.per_s and total_bytes >= done_bytes:
                detail["eta_s"] = round((total_bytes - done_bytes) / self._rate.per_s)
        return detail

    def flush(self) -> None:
        """Write what was reported and held back."""
        with self._lock:
            values, self._unsaid = self._unsaid, {}
            if not values:
                return
            self._said_at = monotonic()
        self._write(progress_at=now(), **values)

    def save_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Remember where to go on if this attempt ends: JSON, small, never a secret.

        Raises LeaseLost when the job is not ours any more: saved in one transaction with what it speaks of, neither
        is done twice. In a coroutine use `asave_checkpoint`.
        """
        self.checkpoint = storable(json.loads(json.dumps(dict(data), allow_nan=False)))
        self._moved_at = monotonic()
        if not self._write(checkpoint=self.checkpoint):
            raise LeaseLost

    async def asave_checkpoint(self, data: Mapping[str, Any]) -> None:
        """`save_checkpoint` for coroutines, in a thread with a connection of its own."""

        def save() -> None:
            try:
                self.save_checkpoint(data)
            finally:
                connection.close()

        await asyncio.to_thread(save)

    # --- Stopping ---------------------------------------------------------------------------------------------------

    def raise_if_cancelled(self) -> None:
        """Raise JobStopped when the job was cancelled or suspended, ran out of time, stalled, or is no longer ours."""
        if not self.stop_seen.is_set():
            if now() >= self.deadline:
                self.stop(JobTimedOut)
            elif monotonic() - self._looked_at >= _LOOK_AT_MOST_EVERY_S and not _in_event_loop():
                self.look()
        if self.stopped_by is not None:
            raise self.stopped_by

    def on_stop(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` once, from another thread, when the handler is to stop: it closes a socket, sets an event.

        Called at once if that is so already. Returns a function that takes the callback back. Whatever the handler
        raises after that counts as having stopped.
        """
        with self._lock:
            if not self.stop_seen.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end; it is cancelled when the job is to stop. Raises JobStopped then."""

        async def watched() -> _T:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None  # noqa: S101
            forget = self.on_stop(lambda: loop.call_soon_threadsafe(task.cancel))
            try:
                return await work
            finally:
                forget()

        try:
            return asyncio.run(watched())
        except asyncio.CancelledError:
            self.raise_if_cancelled()
            raise

    def stop(self, reason: Reason) -> None:
        """Tell the handler to stop; the first reason counts."""
        with self._lock:
            if self.stop_seen.is_set():
                return
            self.stopped_by = reason
            self.stop_seen.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # a handler's own code; the others are to be called all the same
                logger.exception("job.callback_broken", job_id=self.job_id)

    def _forget(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def look(self) -> None:
        """Ask the row whether it is still ours and still wanted."""
        self._looked_at = monotonic()
        asked = self._mine().values_list("cancel_requested_at", "suspend_requested_at").first()
        if asked is None:
            self.stop(LeaseLost)
        elif asked[0] is not None:
            self.stop(JobCancelled)
        elif asked[1] is not None:
            self.stop(JobSuspended)

    def watch(self) -> None:
        """What the runner's thread does twice a second: write what was held back, look, and mind the time."""
        self.flush()
        self.look()
        if now() >= self.deadline:
            self.stop(JobTimedOut)
        elif self.stall_after_s is not None and monotonic() - self._moved_at > self.stall_after_s:
            self.stop(JobStalled)

    def beat(self) -> None:
        """Confirm that somebody is working on it."""
        self._write(heartbeat_at=now())

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job_id, lease=self.lease, state=JobState.RUNNING)

    def _write(self, **values: Any) -> bool:
        if self._mine().update(**values):
            return True
        self.stop(LeaseLost)
        return False


def _in_event_loop() -> bool:
    """Whether the caller is a coroutine, which must not use the database itself."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
