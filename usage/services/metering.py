"""The spool and the flusher of a process, as the settings want them."""

from __future__ import annotations

from django.conf import settings
from django.db import connections

from usage.services import ledger
from usage.spool import Flusher, Spool


def open_spool() -> Spool:
    """A spool of this process's own; `Flusher.close` closes it."""
    return Spool(settings.USAGE_SPOOL_DIR, max_bytes=settings.USAGE_SPOOL_MAX_MB * 1024 * 1024)


def open_flusher(spool: Spool) -> Flusher:
    """What carries it to the ledger, not started yet."""
    return Flusher(spool, ledger.ingest, at_rest=connections.close_all)


def replay() -> int:
    """Deliver what processes left on this machine that live no more; how many records that were.

    Flushers do the same; this is for when there is none.
    """
    spool = open_spool()
    flusher = Flusher(spool, ledger.ingest)
    try:
        flusher.run_once()
    finally:
        spool.close()
    return flusher.records
