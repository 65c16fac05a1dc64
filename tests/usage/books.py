"""A ledger in memory, that can be away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from usage.flusher import Refusal
from usage.records import CallRecord


class Away(Exception):
    """The database does not answer."""


class Book:
    """Takes each call once, as the ledger does."""

    def __init__(self, *, refuses: Callable[[CallRecord], bool] = lambda call: False) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.away = threading.Event()
        self.asked = threading.Semaphore(0)
        self.batches = 0
        self._refuses = refuses

    def ingest(self, calls: Sequence[CallRecord]) -> list[Refusal]:
        self.asked.release()
        if self.away.is_set():
            raise Away("The database is away.")
        self.batches += 1
        refused = [Refusal(call, "not to be taken") for call in calls if self._refuses(call)]
        self.calls |= {call.id: call for call in calls if not self._refuses(call)}
        return refused
