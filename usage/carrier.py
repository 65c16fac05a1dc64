"""Who carries the records of a machine to the ledger: one process at a time, best one that does nothing else.

Carrying is work in Python, and beside an event loop it takes the interpreter away from the calls. A web process forks
its carrier right at its start, with all that was imported, so that the two share that memory. Nothing but files goes
from one to the other (`usage/spool.py`). No Django.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import structlog

logger = structlog.get_logger(__name__)

LOCK = "carrier.lock"
TITLE = "usage-carrier"  # as `ps -o comm` and `top` show it; Linux takes 15 characters


class CarrierLock:
    """Held by whoever carries. The kernel gives it free when its holder dies. For one thread."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd = -1
        _locks.add(self)

    def take(self) -> bool:
        """Whether it is this process's now, without waiting; raises OSError if the file cannot be opened."""
        if self._fd >= 0:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        return True

    def holder(self) -> int:
        """The process id of who had it last, and has it as long as it lives; 0 if nobody ever did."""
        with suppress(OSError, ValueError):
            return int(self._path.read_bytes())
        return 0

    def beat(self) -> None:
        """Show that its holder gets on."""
        if self._fd >= 0:
            os.utime(self._fd)

    def silent_s(self) -> float:
        """For how long its holder has not shown so: one that is stopped, or hangs, keeps it all the same."""
        with suppress(OSError):
            return max(0.0, time.time() - self._path.stat().st_mtime)
        return 0.0

    def give_back(self) -> None:
        """Let others have it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Parent:
    """What a forked process knows of the one that forked it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def has_ended(self, within_s: float | None = None) -> bool:
        """Wait that long for its end, without limit if not told."""
        return bool(select.select([self._fd], [], [], within_s)[0])  # the other end of a pipe, which closes with it


def fork(work: Callable[[Parent], None], *, close: Iterable[int] = ()) -> int:
    """Have a child do this and end; its process id. To be called before there are threads or connections.

    What is sent to the whole group, as Ctrl-C is, does not end the child: it is for the parent, and the child ends by
    what `work` makes of the parent's end. `close`: descriptors that the child has no use for.
    """
    parents_end, childs_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(parents_end)
        return pid
    status = 1
    try:
        os.close(childs_end)
        for fd in close:
            os.close(fd)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):
            Path("/proc/self/comm").write_text(TITLE)
        work(Parent(parents_end))
        status = 0
    except Exception as error:
        logger.exception("usage.carrier_failed", error=type(error).__name__)
    finally:
        os._exit(status)  # what is registered for the end of the process is the parent's


_locks: WeakSet[CarrierLock] = WeakSet()


def _after_fork() -> None:
    """A child would keep its parent's lock for it."""
    for lock in list(_locks):
        with suppress(OSError):
            lock.give_back()


os.register_at_fork(after_in_child=_after_fork)
