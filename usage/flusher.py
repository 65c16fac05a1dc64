"""The thread that carries the spool to the ledger. No Django: what takes the records is given to it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from usage.records import CallRecord, from_line
from usage.segments import SUFFIX, Segment

if TYPE_CHECKING:
    from usage.spool import Spool

logger = structlog.get_logger(__name__)

INTERVAL_S = 0.5
LONGEST_PAUSE_S = 15.0
ADOPT_EVERY_S = 10.0
BATCH_BYTES = 256 * 1024
QUARANTINE = "quarantine"
_TURN = 50  # records, after which whoever waits for the interpreter gets it: this shares a process with an event loop


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that the ledger will never take, and why."""

    record: CallRecord
    reason: str


Ingest = Callable[[Sequence[CallRecord]], Sequence[Refusal]]
"""Takes records, each once however often it comes, all of them or none; returns those it will never take. What it
raises means: not now."""


class Flusher:
    """Delivers a spool in the background. A failing delivery is tried again, ever more slowly, and loses nothing."""

    def __init__(
        self,
        spool: Spool,
        ingest: Ingest,
        *,
        interval_s: float = INTERVAL_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
        adopt_every_s: float = ADOPT_EVERY_S,
        batch_bytes: int = BATCH_BYTES,
        at_rest: Callable[[], object] = lambda: None,
    ) -> None:
        """`at_rest` is called in the thread when it is about to wait: to give back what it holds, as connections."""
        self._spool = spool
        self._ingest = ingest
        self._at_rest = at_rest
        self._interval_s = interval_s
        self._longest_pause_s = longest_pause_s
        self._adopt_every_s = adopt_every_s
        self._batch_bytes = batch_bytes
        self._adopted_at = -adopt_every_s
        self._wake = threading.Event()
        self._closing = False
        self._deadline = 0.0
        self._passes = threading.Condition()
        self._passed = 0
        self._thread: threading.Thread | None = None
        self.records = 0  # delivered
        self.torn = 0  # last lines that a process was killed over, or a disk lost
        self.quarantined = 0
        self.failures = 0  # passes in a row that failed
        self.last_error = ""

    @property
    def backlog_bytes(self) -> int:
        return self._spool.backlog_bytes

    @property
    def oldest_s(self) -> float:
        return self._spool.oldest_s

    def start(self) -> None:
        """Begin; does nothing when it has begun."""
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="usage-flusher", daemon=True)
            self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that was appended before is in the ledger; False if the time was not enough."""
        end = time.monotonic() + timeout_s
        with self._passes:
            seen = self._passed
            while self._spool.backlog_bytes or self._passed < seen + 1:
                left = end - time.monotonic()
                if left <= 0 or self._thread is None:
                    return not self._spool.backlog_bytes
                self._wake.set()
                self._passes.wait(min(left, 0.1))
        return True

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what there is, and end. What cannot be delivered in time stays for the next process."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._deadline = time.monotonic() + timeout_s
            self._closing = True
            self._wake.set()
            thread.join(timeout_s + 1)
            if thread.is_alive():
                logger.warning("usage.flusher_stuck", backlog_bytes=self._spool.backlog_bytes)
                return  # it still has the files; the end of the process gives them free
        self._spool.close()

    def run_once(self) -> None:
        """One pass, in the caller's thread, over what dead processes left and what waits; raises what ingest raises."""
        self._adopt()
        while (segment := self._spool.next_segment()) is not None:
            self._deliver(segment)

    # --- The thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            closing = self._closing
            try:
                try:
                    self.run_once()
                finally:
                    self._at_rest()
                self._well()
            except Exception as error:
                self._failed(error)
            with self._passes:
                self._passed += 1
                self._passes.notify_all()
            if closing and (not self.failures or time.monotonic() >= self._deadline):
                return

    def _pause_s(self) -> float:
        if not self.failures:
            return self._interval_s
        pause = min(self._interval_s * 2.0 ** min(self.failures, 20), self._longest_pause_s)
        return min(pause, 0.2) if self._closing else pause

    def _well(self) -> None:
        if self.failures:
            logger.info("usage.flusher_recovered", after_failures=self.failures)
        self.failures = 0
        self.last_error = ""

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = f"{type(error).__name__}: {error}"[:500]
        if self.failures == 1 or self.failures % 20 == 0:
            logger.error(
                "usage.flush_failed",
                error=type(error).__name__,
                detail=str(error)[:500],
                failures=self.failures,
                backlog_bytes=self._spool.backlog_bytes,
            )
        with suppress(OSError):  # as long as the database is away, what waits shall survive a loss of power
            self._spool.sync()

    def _adopt(self) -> None:
        if time.monotonic() - self._adopted_at < self._adopt_every_s:
            return
        self._adopted_at = time.monotonic()
        if found := self._spool.adopt():
            logger.info("usage.spool_adopted", files=found)

    # --- One file ---------------------------------------------------------------------------------------------------

    def _deliver(self, segment: Segment) -> None:
        while data := segment.read(self._batch_bytes):
            records, bad = _decoded(data)
            refused = self._ingest(records) if records else ()
            if bad or refused:
                self._quarantine(segment, bad, refused)
            self.records += len(records) - len(refused)
            self._spool.delivered(segment, len(data))
        if rest := segment.rest():
            self.torn += 1
            logger.warning("usage.torn_line", file=segment.path.name, size_bytes=len(rest))
        self._spool.discard(segment)

    def _quarantine(self, segment: Segment, bad: Sequence[bytes], refused: Sequence[Refusal]) -> None:
        """Put aside what cannot be taken, for people to look at: a line lost is money lost."""
        folder = self._spool.directory / QUARANTINE
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{segment.path.name.removesuffix(SUFFIX)}.lines"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.writelines([*bad, *(one.record.to_line() for one in refused)])
            file.flush()
            os.fsync(file.fileno())
        self.quarantined += len(bad) + len(refused)
        reasons = sorted({one.reason for one in refused} | ({"not a whole line of ours"} if bad else set()))
        logger.error("usage.quarantined", file=str(path), lines=len(bad) + len(refused), reasons=reasons[:5])


def _decoded(data: bytes) -> tuple[list[CallRecord], list[bytes]]:
    records, bad = [], []
    for number, line in enumerate(data.splitlines(keepends=True)):
        try:
            records.append(from_line(line))
        except ValueError:
            bad.append(line)
        if number % _TURN == _TURN - 1:
            time.sleep(0)
    return records, bad
