"""The thread that brings a spool to the ledger: through whoever carries on this machine, or by carrying itself.

No Django: what takes the records is given to it.
"""

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
    from usage.carrier import CarrierLock
    from usage.spool import Spool

logger = structlog.get_logger(__name__)

INTERVAL_S = 0.5
LONGEST_PAUSE_S = 15.0
ADOPT_EVERY_S = 10.0
SYNC_EVERY_S = 15.0
HANDED_OVER_WITHIN_S = 2.0
HANGS_AFTER_S = 30.0  # whoever carries and has not shown that it gets on for so long
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
        lock: CarrierLock | None = None,
        carrier_pid: int = 0,
        hangs_after_s: float = HANGS_AFTER_S,
    ) -> None:
        """`at_rest` is called in the thread when it is about to wait: to give back what it holds, as connections.

        With a lock, it carries only when nobody else does, and hands over what there is when somebody does. If that is
        `carrier_pid`, what dead processes left is counted here. One that hangs keeps the lock: beside it, this one
        carries, too, for the ledger takes each record once.
        """
        self._spool = spool
        self._ingest = ingest
        self._at_rest = at_rest
        self._interval_s = interval_s
        self._longest_pause_s = longest_pause_s
        self._adopt_every_s = adopt_every_s
        self._batch_bytes = batch_bytes
        self._lock = lock
        self._carrier_pid = carrier_pid
        self._hangs_after_s = hangs_after_s
        self._beside_one_that_hangs = False
        self._adopted_at = -adopt_every_s
        self._synced_at = 0.0
        self._wake = threading.Event()
        self._closing = False
        self._deadline = self._patience_ends = 0.0
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
        """Deliver what there is, and end. What cannot be delivered in time stays for the next process.

        For what another carries it waits only shortly: there it is in good hands.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            self._deadline = time.monotonic() + timeout_s
            self._patience_ends = time.monotonic() + min(timeout_s, HANDED_OVER_WITHIN_S)
            self._closing = True
            self._wake.set()
            thread.join(timeout_s + 1)
            if thread.is_alive():
                logger.warning("usage.flusher_stuck", backlog_bytes=self._spool.backlog_bytes)
                return  # it still has the files; the end of the process gives them free
        self._spool.close()

    def run_once(self) -> None:
        """One pass, in the caller's thread, over what nobody holds and what waits; raises what ingest raises."""
        self._adopt()
        self._deliver_all()

    def _deliver_all(self) -> None:
        while (segment := self._spool.next_segment()) is not None:
            self._deliver(segment)

    # --- The thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            closing, done = self._closing, False
            try:
                try:
                    done = self._pass()
                finally:
                    self._at_rest()
                self._well()
            except Exception as error:
                done = False
                self._failed(error)
            with self._passes:
                self._passed += 1
                self._passes.notify_all()
            if closing and (done or time.monotonic() >= self._deadline):
                return

    def _pass(self) -> bool:
        """Whether nothing is left to do."""
        if self._lock is None:
            self.run_once()
            return True
        if self._lock.take():
            try:
                if self._spool.has_handed_over:  # to one that lives no more
                    self._adopted_at = -self._adopt_every_s
                self.run_once()
            finally:
                self._lock.give_back()  # a process that does nothing else may be waiting for it
            return True
        if self._carrier_hangs(self._lock):
            if self._spool.has_handed_over or self._is_time_to_look():
                self._spool.adopt(by_force=True)
            self._deliver_all()
            return True
        if self._carrier_pid and self._is_time_to_look() and self._lock.holder() == self._carrier_pid:
            self._spool.count_left()
        self._spool.hand_over(everything=self._closing)
        self._keep_safe()
        return not self._spool.backlog_bytes or (self._closing and time.monotonic() >= self._patience_ends)

    def _carrier_hangs(self, lock: CarrierLock) -> bool:
        hangs, before = lock.silent_s() > self._hangs_after_s, self._beside_one_that_hangs
        self._beside_one_that_hangs = hangs
        if hangs and not before:
            logger.warning("usage.carrier_hangs", pid=lock.holder(), hint="Others carry its records until it gets on.")
        return hangs

    def _keep_safe(self) -> None:
        """As long as those who carry get nothing done, what waits here shall survive a loss of power, too."""
        if self._spool.oldest_s > SYNC_EVERY_S and time.monotonic() - self._synced_at > SYNC_EVERY_S:
            self._spool.sync()
            self._synced_at = time.monotonic()

    def _pause_s(self) -> float:
        pause = self._interval_s
        if self.failures:
            pause = min(pause * 2.0 ** min(self.failures, 20), self._longest_pause_s)
        return min(pause, 0.05) if self._closing else pause

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
        if not self._is_time_to_look():
            return
        found = self._spool.adopt()
        if found and self._adopt_every_s:  # one that always looks lives on what others hand over
            logger.info("usage.spool_adopted", files=found)

    def _is_time_to_look(self) -> bool:
        """For what others left."""
        if time.monotonic() - self._adopted_at < self._adopt_every_s:
            return False
        self._adopted_at = time.monotonic()
        return True

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
