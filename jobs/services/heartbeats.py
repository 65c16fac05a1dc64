"""When a worker was last seen doing something."""

from __future__ import annotations

from core.clock import now
from jobs.models import WorkerHeartbeat

WORKER_SILENT_AFTER_S = 60.0  # the scheduler asks for a heartbeat every ten seconds


def worker_seen(name: str) -> None:
    """Write down that this worker is alive."""
    WorkerHeartbeat.objects.update_or_create(name=name[:128], defaults={"seen_at": now()})


def worker_age_s() -> float | None:
    """Seconds since any worker was last seen; None when none ever was."""
    seen_at = WorkerHeartbeat.objects.order_by("-seen_at").values_list("seen_at", flat=True).first()
    return None if seen_at is None else max(0.0, (now() - seen_at).total_seconds())
