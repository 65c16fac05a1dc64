"""Where metered calls wait until the database has them. Files only, no Django.

A record is in the kernel's hands when `append` returns, so that it survives whatever happens to this process. Whoever
carries brings the lines to the ledger, which takes each once however often it is given; a file goes when all of its
lines have been taken. Files that nobody holds, handed over or left by a process that was killed, are adopted.

    append ─▶ active file ─seal─▶ sealed files ─read─▶ ledger ─▶ gone
                                    │      ▲             └─ what it refuses ─▶ quarantine/
                               hand over  adopt
                                    ▼      │
                              files that nobody holds ◀─ death
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

from usage.flusher import Flusher, Refusal
from usage.records import CallRecord
from usage.segments import SUFFIX, Segment

__all__ = ["Flusher", "Refusal", "Spool", "SpoolFull"]

SEGMENT_BYTES = 8 * 1024 * 1024
MAX_BYTES = 256 * 1024 * 1024
FULL_AT = 0.9  # from which share on no new calls are to begin, so that those under way still find room
AFTER_FAULT_S = 1.0


class SpoolFull(Exception):
    """The record could not be written: too much is waiting, or the disk takes no more."""


class _Handed(NamedTuple):
    """A file that others may deliver, and that counts here until it is gone."""

    size_bytes: int
    since: float
    ours: bool = True  # or else a dead process's


class Spool:
    """The records of this process that are under way to the ledger. Any thread may append."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, max_bytes: int = MAX_BYTES) -> None:
        self.directory = directory
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._full_at = int(max_bytes * FULL_AT)
        self._forget()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _spools.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._active: Segment | None = None
        self._sealed: deque[Segment] = deque()
        self._own: set[Path] = set()
        self._handed: dict[Path, _Handed] = {}
        self._backlog = 0
        self._faulty_until = 0.0

    def append(self, record: CallRecord) -> None:
        """Keep a record; once this returns it will reach the ledger. Raises SpoolFull."""
        line = record.to_line()
        with self._lock:
            if self._backlog + len(line) > self._max_bytes:
                raise SpoolFull(f"{self._backlog} bytes of usage records are waiting for the database.")
            segment = self._active
            try:
                if segment is None or segment.size >= self._segment_bytes:
                    segment = self._renew()
                segment.append(line)
            except OSError as error:
                self._faulty_until = time.monotonic() + AFTER_FAULT_S
                if self._active is not None:  # it may end in half a line
                    self._sealed.append(self._active)
                    self._active = None
                raise SpoolFull(f"The usage spool cannot be written: {error.strerror or error}.") from error
            self._backlog += len(line)

    @property
    def has_room(self) -> bool:
        """Whether a new call may begin: what it uses will find its place."""
        return self._backlog < self._full_at and time.monotonic() >= self._faulty_until

    @property
    def backlog_bytes(self) -> int:
        """How much is waiting: what was handed over counts until it is delivered, and so does what was adopted."""
        return self._backlog

    @property
    def oldest_s(self) -> float:
        """For how long the oldest record has been waiting, about; 0 when none is."""
        with self._lock:
            waiting = [one.since for one in (*self._sealed, self._active) if one is not None and one.backlog_bytes]
            waiting += [one.since for one in self._handed.values()]
        return time.monotonic() - min(waiting) if waiting else 0.0

    # --- For the flusher --------------------------------------------------------------------------------------------

    def next_segment(self) -> Segment | None:
        """The oldest file that takes no more lines; the active one is made such when there is no other."""
        if not self._sealed:
            self._seal()
        return self._sealed[0] if self._sealed else None

    def delivered(self, segment: Segment, size: int) -> None:
        """So many more bytes of it need no more care."""
        segment.delivered += size
        with self._lock:
            self._backlog -= size

    def discard(self, segment: Segment) -> None:
        """All of it has been delivered."""
        with self._lock:
            self._sealed.remove(segment)
            self._own.discard(segment.path)
            self._backlog -= segment.backlog_bytes
        segment.discard()

    def adopt(self, *, by_force: bool = False) -> int:
        """Take over what nobody holds here; how many files. `by_force`: and what was handed over, whoever holds it."""
        self._look()
        found = 0
        for path in sorted(self.directory.glob(f"*{SUFFIX}")):
            if path in self._own:
                continue
            handed = self._handed.get(path)
            segment = Segment.adopt(path, by_force=by_force and handed is not None and handed.ours)
            if segment is not None:
                found += 1
                with self._lock:
                    self._own.add(path)
                    self._sealed.append(segment)
                    self._backlog += segment.size
                    if (before := self._handed.pop(path, None)) is not None:
                        self._backlog -= before.size_bytes
        return found

    @property
    def has_handed_over(self) -> bool:
        """Whether files are with others that have not been seen to be delivered."""
        return bool(self._handed)

    def hand_over(self, *, everything: bool = False) -> None:
        """Leave what waits to whoever carries, and look what of it has been delivered.

        As long as something of ours is with them, lines are gathered in the active file, unless `everything` is to go:
        so the files grow instead of their number when delivery is slow.
        """
        self._look()
        if everything or not any(one.ours for one in self._handed.values()):
            self._seal()
        with self._lock:
            going = list(self._sealed)
            self._sealed.clear()
            for segment in going:
                self._own.discard(segment.path)
                self._handed[segment.path] = _Handed(segment.backlog_bytes, segment.since)
        for segment in going:
            segment.release()

    def count_left(self) -> None:
        """Have what dead processes left count as if it had been handed over by this one."""
        for path in self.directory.glob(f"*{SUFFIX}"):
            if path in self._own or path in self._handed or not Segment.is_left(path):
                continue
            with suppress(FileNotFoundError):
                stat = path.stat()
                since = time.monotonic() - max(0.0, time.time() - stat.st_mtime)
                with self._lock:
                    self._handed[path] = _Handed(stat.st_size, since, ours=False)
                    self._backlog += stat.st_size

    def sync(self) -> None:
        """Bring what waits here to the disk."""
        with self._lock:
            held = [one for one in (*self._sealed, self._active) if one is not None]
        for segment in held:
            segment.sync()

    def close(self) -> None:
        """Leave what has not been delivered to the next process; an empty file goes."""
        with self._lock:
            if self._active is not None:
                self._sealed.append(self._active)
            left = list(self._sealed)
            self._active = None
            self._sealed.clear()
            self._own.clear()
            self._handed.clear()
            self._backlog = 0
        for segment in left:
            if segment.backlog_bytes:
                segment.release()
            else:
                segment.discard()

    def _renew(self) -> Segment:
        """A new active file; the lock is held."""
        fresh = Segment.create(self.directory)
        self._own.add(fresh.path)
        if self._active is not None:
            self._sealed.append(self._active)
        self._active = fresh
        return fresh

    def _look(self) -> None:
        """What of the files that were handed over is gone, and so has been delivered."""
        for path in [path for path in self._handed if not path.exists()]:
            with self._lock:
                self._backlog -= self._handed.pop(path).size_bytes

    def _seal(self) -> None:
        """Let the active file take no more lines. Its successor is made first, so that nobody waits for that."""
        active = self._active
        if active is None or not active.size:
            return
        try:
            fresh = Segment.create(self.directory)
        except OSError:
            fresh = None  # the disk is full: the next line that is to be written will find out
        with self._lock:
            if self._active is active:
                self._sealed.append(active)
                self._active = None
                if fresh is not None:
                    self._own.add(fresh.path)
                    self._active, fresh = fresh, None
        if fresh is not None:
            fresh.discard()


_spools: WeakSet[Spool] = WeakSet()


def _after_fork() -> None:
    """A child shares its parent's files, and would hold their locks when the parent is dead: it lets go of them."""
    for spool in list(_spools):
        for segment in (*spool._sealed, spool._active):
            if segment is not None:
                with suppress(OSError):
                    segment.release()
        spool._forget()


os.register_at_fork(after_in_child=_after_fork)
