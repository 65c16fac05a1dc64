"""Puts every stored secret under the primary encryption key, so that older keys can be retired.

`FIELD_ENCRYPTION_KEY` lists the new key first and the old ones behind it. Each row is changed only if it still holds
what was read, so a key that somebody saves meanwhile is never overwritten; what does not hold it any more is looked at
again in the next round. It can be stopped, killed and started again at any point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict
from core.fields import SecretField
from core.secrets import SealedSecret, SecretUnreadable, is_current, is_readable, primary_key_id, rotate
from jobs.models import Job, JobState
from jobs.services import queue
from jobs.services.context import JobContext
from tenants.services import routing

JOB_TYPE = "rotate_secrets"
BATCH = 200
ROUNDS = 5
REPORTED = 1000  # unreadable rows that are named; all are counted

Batch = list[tuple[Any, SealedSecret]]
Progress = Callable[[int, str], None]

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Survey:
    """In which state the stored secrets are. Rows that no key decrypts are named, never shown."""

    current: int = 0
    stale: int = 0
    unreadable: int = 0
    unreadable_rows: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Column:
    """A place where secrets are stored."""

    model: type[Model]
    name: str

    @property
    def label(self) -> str:
        return f"{self.model._meta.label_lower}.{self.name}"

    def rows(self) -> Any:
        return self.model._base_manager.exclude(**{self.name: None})

    def batches(self, after: Any) -> Iterator[Batch]:
        while True:
            rows = self.rows() if after is None else self.rows().filter(pk__gt=after)
            batch = list(rows.order_by("pk").values_list("pk", self.name)[:BATCH])
            if not batch:
                return
            yield batch
            after = batch[-1][0]


def columns() -> list[Column]:
    """Every SecretField of every model there is."""
    return [
        Column(model, column.attname)
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy and model._meta.managed
        for column in model._meta.local_concrete_fields
        if isinstance(column, SecretField)
    ]


def enqueue(*, actor: Actor) -> Job:
    """Rotate in the background, by workers that have the same primary key as this process; joins one under way."""
    return _enqueue(actor)


def _enqueue(actor: Actor, *, run_after: datetime | None = None) -> Job:
    return queue.enqueue(
        JOB_TYPE,
        params={"key": primary_key_id()},
        actor=actor,
        dedupe_key="all",
        timeout_s=86_400,
        max_attempts=20,
        run_after=run_after,
    )


def prepare(*, actor: Actor) -> Job:
    """The job, free for the caller to run itself: a new one that no worker hears of, or one that its process left."""
    job = _enqueue(actor, run_after=now() + timedelta(hours=1))
    return take_over(job)


def take_over(job: Job) -> Job:
    """The job as it is now; free again if the process that was at it has died."""
    silent_since = now() - timedelta(seconds=settings.JOB_LEASE_S)
    Job.objects.abandoned(before=silent_since).filter(pk=job.pk).update(state=JobState.PENDING, lease="")
    Job.objects.filter(pk=job.pk, state=JobState.PENDING).update(run_after=None, params={"key": primary_key_id()})
    job.refresh_from_db()
    return job


def run_job(ctx: JobContext) -> dict[str, Any]:
    """The handler of the job."""
    if ctx.params.get("key") not in (None, primary_key_id()):
        raise Conflict(
            "This process has another primary key than the one that asked for the rotation.",
            hint="Restart every process with the same FIELD_ENCRYPTION_KEY, then start the rotation again.",
        )
    result = rotate_all(
        checkpoint=ctx.checkpoint,
        save=ctx.save_checkpoint,
        progress=ctx.progress,
        pause=ctx.raise_if_cancelled,
    )
    with transaction.atomic():
        routing.bump_all()
        counts = {name: result[name] for name in ("rotated", "current", "unreadable", "complete")}
        audit.record("secrets.rotated", actor=ctx.actor, target="all stored keys", **counts)
    return result


def rotate_all(
    *,
    checkpoint: Mapping[str, Any] | None = None,
    save: Callable[[Mapping[str, Any]], None] = lambda _: None,
    progress: Progress = lambda *_: None,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Rotate all rows from where `checkpoint` says, and again until none is left; answers what was done and found."""
    key = primary_key_id()
    place = dict(checkpoint or {})
    if place.get("key") != key:  # what was done for another key has to be done again
        place = {"key": key, "done": [], "after": None, "seen": 0, "rotated": 0, "changed_meanwhile": 0}
    total = max(1, sum(column.rows().count() for column in columns()))
    for _ in range(ROUNDS):
        for column in columns():
            if column.label in place["done"]:
                continue
            for batch in column.batches(place["after"]):
                pause()
                with transaction.atomic():  # what is counted is what is stored, wherever it is killed
                    rotated, changed = _rotate(column, batch)
                    place["rotated"] += rotated
                    place["changed_meanwhile"] += changed
                    place["seen"] += len(batch)
                    place["after"] = batch[-1][0]
                    save(place)
                progress(min(99, 100 * place["seen"] // total), f"{column.label}: {place['seen']} of {total} rows")
            place["done"] = [*place["done"], column.label]
            place["after"] = None
        found = survey(pause=pause)
        if not found.stale:
            break
        place["done"] = []
    for row in found.unreadable_rows:
        logger.warning("rotation.unreadable", row=row)
    return {
        "rotated": place["rotated"],
        "changed_meanwhile": place["changed_meanwhile"],
        **asdict(found),
        "complete": not found.stale,
    }


def _rotate(column: Column, batch: Batch) -> tuple[int, int]:
    """How many rows were rotated, and how many somebody else changed while it was at them."""
    fresh = []
    for pk, sealed in batch:
        if not is_current(sealed):
            with suppress(SecretUnreadable):
                fresh.append((pk, sealed, rotate(sealed)))
    rotated = 0
    for pk, old, new in fresh:
        unchanged = column.model._base_manager.filter(pk=pk, **{column.name: old})
        rotated += unchanged.update(**{column.name: new})
    return rotated, len(fresh) - rotated


def survey(progress: Progress = lambda *_: None, pause: Callable[[], None] = lambda: None) -> Survey:
    """Look at every stored secret and change nothing."""
    found, seen = Survey(), 0
    total = max(1, sum(column.rows().count() for column in columns()))
    for column in columns():
        for batch in column.batches(None):
            pause()
            for pk, sealed in batch:
                if is_current(sealed):
                    found.current += 1
                elif is_readable(sealed):
                    found.stale += 1
                else:
                    found.unreadable += 1
                    if found.unreadable <= REPORTED:
                        found.unreadable_rows.append(f"{column.label}:{pk}")
            seen += len(batch)
            progress(min(99, 100 * seen // total), f"{column.label}: {seen} of {total} rows")
    return found
