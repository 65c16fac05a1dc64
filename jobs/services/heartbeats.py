"""When workers were last seen doing something, and which queues they serve."""

from __future__ import annotations

from celery import current_app
from django.conf import settings

from core.clock import now
from jobs.models import WorkerHeartbeat

WORKER_SILENT_AFTER_S = 60.0  # the scheduler asks for a heartbeat every ten seconds


def worker_seen(name: str) -> None:
    """Write down that this worker is alive, and which queues it takes messages from."""
    served = sorted(current_app.amqp.queues.consume_from)
    WorkerHeartbeat.objects.update_or_create(name=name[:128], defaults={"seen_at": now(), "queues": served})


def queue_ages_s() -> dict[str, float | None]:
    """By queue, the seconds since a worker that serves it was last seen; None when none ever was."""
    at = now()
    ages: dict[str, float | None] = dict.fromkeys(settings.JOB_QUEUES)
    for served, seen_at in WorkerHeartbeat.objects.order_by("seen_at").values_list("queues", "seen_at"):
        ages |= {queue: max(0.0, (at - seen_at).total_seconds()) for queue in ages if serves(served, queue)}
    return ages


def serves(queues: list[str], queue: str) -> bool:
    """Whether a worker that takes messages from these queues serves this one; one that has not said serves all."""
    return not queues or queue in queues
