"""One file of the spool: lines that are only added, locked for as long as the process that writes them lives.

The lock is the kernel's (flock): a process that is killed loses it, and by that others know that its file is theirs to
deliver. The folder has to be on a disk of this machine.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

SUFFIX = ".spool"


class Segment:
    """A file that this process has locked. Not for several threads at a time."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path = path
        self.size = size  # of whole lines
        self.delivered = 0
        self.since = time.monotonic()  # when its first line was written
        self._fd = fd

    @classmethod
    def create(cls, directory: Path) -> Segment:
        """A new, empty file; raises OSError."""
        while True:
            path = directory / f"{time.time_ns():016x}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            if _locked(path, fd):
                return cls(path, fd, 0)
            os.close(fd)  # somebody took it for a dead process's in the instant before it was locked

    @classmethod
    def adopt(cls, path: Path, *, by_force: bool = False) -> Segment | None:
        """What a dead process left; None while its writer lives, or when it is gone.

        `by_force`: though another holds it, who does not write. Both deliver it then; it goes when one of them is done.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        if not _locked(path, fd) and not by_force:
            os.close(fd)
            return None
        stat = os.fstat(fd)
        found = cls(path, fd, stat.st_size)
        found.since -= max(0.0, time.time() - stat.st_mtime)
        return found

    @staticmethod
    def is_left(path: Path) -> bool:
        """Whether the process that wrote it lives no more, as far as its name tells."""
        pid = path.name.split("-")[1:2]
        if not pid or not pid[0].isdecimal():
            return True
        try:
            os.kill(int(pid[0]), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False

    @property
    def backlog_bytes(self) -> int:
        return self.size - self.delivered

    def append(self, line: bytes) -> None:
        """Give the line to the kernel; raises OSError, and then nothing of it stays in the file."""
        if self.size == 0:
            self.since = time.monotonic()
        try:
            written = os.write(self._fd, line)
        except OSError:
            self._cut()
            raise
        if written != len(line):
            self._cut()
            raise OSError(f"Only {written} of {len(line)} bytes were written.")
        self.size += written

    def read(self, at_most: int) -> bytes:
        """What has not been delivered yet, in whole lines: about so many bytes, or else one line."""
        while True:
            data = os.pread(self._fd, min(at_most, self.backlog_bytes), self.delivered)
            end = data.rfind(b"\n") + 1
            if end or len(data) < at_most:
                return data[:end]
            at_most *= 2

    def rest(self) -> bytes:
        """All that has not been delivered yet, whole lines or not."""
        return os.pread(self._fd, self.backlog_bytes, self.delivered)

    def sync(self) -> None:
        """Bring it to the disk, where it survives the loss of power too."""
        os.fdatasync(self._fd)

    def discard(self) -> None:
        """Remove the file, which then is nobody's."""
        self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def release(self) -> None:
        """Leave the file to whoever finds it."""
        os.close(self._fd)

    def _cut(self) -> None:
        """Take back a line that was written in part, so that the next one starts on its own."""
        os.ftruncate(self._fd, self.size)


def _locked(path: Path, fd: int) -> bool:
    """Whether the file is ours now, and still has its name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(fd).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
