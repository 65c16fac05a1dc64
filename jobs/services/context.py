"""What a job's handler is given: its parameters, and the ways to report, to save its place and to stop."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from core.audit import Actor
from core.clock import now
from core.redact import redact
from jobs.models import Job, JobState

_SAY_AT_MOST_EVERY_S = 0.25
_LOOK_AT_MOST_EVERY_S = 0.5


class JobStopped(Exception):
    """The handler is to end now. Raised by JobContext; a handler lets it through."""


class JobCancelled(JobStopped):
    """Somebody asked for it."""


class JobTimedOut(JobStopped):
    """The time it was given is over."""


class LeaseLost(JobStopped):
    """Another worker has taken the job over, or the row is gone; what this one does no longer counts."""


@dataclass(eq=False)
class JobContext:
    """One attempt at one job. Not for use from several threads at once."""

    job_id: str
    type: str
    params: Mapping[str, Any]
    tenant_id: str
    actor: Actor
    attempt: int
    checkpoint: dict[str, Any]
    deadline: datetime
    lease: str
    cancel_seen: threading.Event = field(default_factory=threading.Event)
    lease_gone: threading.Event = field(default_factory=threading.Event)
    _said: tuple[int, str] = (-1, "")
    _said_at: float = 0.0
    _looked_at: float = 0.0

    @classmethod
    def of(cls, job: Job, *, deadline: datetime) -> JobContext:
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
        )

    def progress(self, percent: int, message: str = "") -> None:
        """Show how far it is, 0 to 100, with a word for people. Cheap enough for every step of a loop."""
        said = (max(0, min(100, int(percent))), redact(message)[:255])
        if said == self._said or (monotonic() - self._said_at < _SAY_AT_MOST_EVERY_S and said[0] != 100):
            return
        self._said, self._said_at = said, monotonic()
        self._write(progress=said[0], message=said[1])

    def save_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Remember where to go on if this attempt dies: JSON, small, never a secret.

        Raises LeaseLost when the job is not ours any more: saved in one transaction with what it speaks of, neither
        is done twice.
        """
        self.checkpoint = json.loads(json.dumps(dict(data)))
        if not self._write(checkpoint=self.checkpoint):
            raise LeaseLost

    def raise_if_cancelled(self) -> None:
        """Raise JobStopped when the job was cancelled, ran out of time, or is no longer ours."""
        if now() >= self.deadline:
            raise JobTimedOut
        if monotonic() - self._looked_at >= _LOOK_AT_MOST_EVERY_S:
            self._looked_at = monotonic()
            self.look()
        if self.lease_gone.is_set():
            raise LeaseLost
        if self.cancel_seen.is_set():
            raise JobCancelled

    def look(self) -> None:
        """Ask the row whether it is still ours and still wanted."""
        mine = self._mine().values_list("cancel_requested_at", flat=True).first()
        if mine is None and not self._mine().exists():
            self.lease_gone.set()
        elif mine is not None:
            self.cancel_seen.set()

    def beat(self) -> None:
        """Confirm that somebody is working on it."""
        self._write(heartbeat_at=now())
        self.look()

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job_id, lease=self.lease, state=JobState.RUNNING)

    def _write(self, **values: Any) -> bool:
        if self._mine().update(**values):
            return True
        self.lease_gone.set()
        return False
