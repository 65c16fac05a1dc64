"""Spool, flusher and carrier of a process, as the settings want them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence

import structlog
from django.conf import settings
from django.db import connections

from usage import carrier
from usage.carrier import CarrierLock, Parent
from usage.records import CallRecord
from usage.services import ledger
from usage.spool import Flusher, Refusal, Spool

logger = structlog.get_logger(__name__)

CARRIES_EVERY_S = 0.2
STANDS_BY_S = 0.5
ENDS_WITHIN_S = 2.0  # once its parent is gone

_carrier_pid = 0


def open_spool() -> Spool:
    """A spool of this process's own; `Flusher.close` closes it."""
    return Spool(settings.USAGE_SPOOL_DIR, max_bytes=settings.USAGE_SPOOL_MAX_MB * 1024 * 1024)


def open_flusher(spool: Spool) -> Flusher:
    """What brings it to the ledger, by whoever carries on this machine or else in this process; not started yet."""
    lock = CarrierLock(settings.USAGE_SPOOL_DIR)
    return Flusher(spool, ledger.ingest, at_rest=connections.close_all, lock=lock, carrier_pid=_carrier_pid)


def fork_carrier(*, close: Iterable[int] = ()) -> int:
    """Start a process that carries for as long as this one lives; its process id.

    To be called once Django is set up and before there are threads or connections. `close`: descriptors that are of no
    use there. Should that process die, the next one that stands by carries, or each by itself: nothing is lost.
    """
    global _carrier_pid
    _carrier_pid = carrier.fork(_carry, close=close)
    threading.Thread(target=_see_off, args=[_carrier_pid], name="usage-carrier", daemon=True).start()
    return _carrier_pid


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


def _carry(parent: Parent) -> None:
    """All that a carrier does."""
    spool, lock = open_spool(), CarrierLock(settings.USAGE_SPOOL_DIR)
    while not lock.take():
        if parent.has_ended(STANDS_BY_S):
            return  # whoever carries takes what it left

    def ingest(records: Sequence[CallRecord]) -> Sequence[Refusal]:
        lock.beat()
        return ledger.ingest(records)

    def at_rest() -> None:
        lock.beat()
        connections.close_all()

    flusher = Flusher(spool, ingest, interval_s=CARRIES_EVERY_S, adopt_every_s=0, at_rest=at_rest)
    flusher.start()
    parent.has_ended()
    flusher.close(ENDS_WITHIN_S)


def _see_off(pid: int) -> None:
    """Wait for the carrier's end, which is to come after this process's own."""
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # who started this process has it ignore its children
        status = None
    logger.error("usage.carrier_ended", pid=pid, status=status, hint="Others carry its records from now on.")
