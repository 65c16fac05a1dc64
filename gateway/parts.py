"""The engine of this process, put together as the settings say."""

from __future__ import annotations

from django.conf import settings

from gateway.pipeline import Engine
from providers.upstream import Pool
from usage.counters.memory import MemoryCounters
from usage.services import ledger
from usage.spool import Flusher, Spool

MB = 1024 * 1024


def engine() -> Engine:
    """For the running event loop; it records into the spool that this process carries to the ledger."""
    spool = Spool(settings.USAGE_SPOOL_DIR, max_bytes=settings.USAGE_SPOOL_MAX_MB * MB)
    flusher = Flusher(spool, ledger.ingest)
    flusher.start()
    counters = MemoryCounters(workers=settings.WEB_WORKERS)
    return Engine(pool=Pool(limit=0, limit_per_host=0), counters=counters, spool=spool, flusher=flusher)
