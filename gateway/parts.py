"""The engine of this process, put together as the settings say."""

from __future__ import annotations

from gateway import published
from gateway.pipeline import Engine
from providers.upstream import Pool
from usage.services import counting, metering


def engine(*, beside: bool = False) -> Engine:
    """For one event loop; it records into a spool that is brought to the ledger meanwhile. `beside`: it is not the
    one that serves HTTP."""
    spool = metering.open_spool()
    flusher = metering.open_flusher(spool)
    flusher.start()
    published.start()
    pool = Pool(limit=0, limit_per_host=0)
    return Engine(pool=pool, counters=counting.counters(beside=beside), spool=spool, flusher=flusher)
