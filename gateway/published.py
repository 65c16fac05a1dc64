"""One set of numbers for all processes of this machine: each writes its own to a folder, whoever is asked adds them up.

A process keeps a lock (flock) as long as it lives. What a dead one had counted is moved to `ended.json`, so that sums
never fall, which would look like a restart. A process that is killed loses what it counted since it last wrote.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import structlog
from django.conf import settings

from gateway import metrics
from gateway.metrics import Counts

logger = structlog.get_logger(__name__)

PUBLISH_EVERY_S = 5.0
ENDED = "ended.json"
_REMEMBERED = 1_000  # names of processes that were moved, in case we die before their files are gone


class Published:
    """This process's part of a folder. Any thread may use it."""

    def __init__(self, folder: Path, counts: Counts) -> None:
        self.folder = folder
        self._counts = counts
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            self._fd = os.open(folder / f"{self._name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._writing = threading.Lock()
        self.left = threading.Event()

    def publish(self) -> None:
        """Tell the others; raises OSError."""
        with self._writing:
            data = {"counts": self._counts.as_data(), "gauges": metrics.gauges()}
            _write(self.folder / f"{self._name}.json", data)

    def collect(self) -> tuple[Counts, dict[str, Any]]:
        """What all processes have counted, and the gauges of those that live; raises OSError."""
        self.publish()
        every, gauges = Counts(), []
        with self._alone():
            every.add(self._ended())
            for lock in self.folder.glob("*.lock"):
                if (data := _read(lock.with_suffix(".json"))) is not None:
                    every.add(data["counts"])
                    gauges.append(data["gauges"])
        return every, metrics.together(gauges)

    def leave(self) -> None:
        """Write what was counted last, and give it free."""
        self.left.set()
        with suppress(OSError):
            self.publish()
        os.close(self._fd)

    def forget(self) -> None:
        """In a child after a fork: the lock is its parent's."""
        os.close(self._fd)

    def _ended(self) -> dict[str, Any]:
        """The counts of the dead, after those that died since were added; the folder is ours alone."""
        kept = _read(self.folder / ENDED) or {"counts": Counts().as_data(), "moved": []}
        found: list[tuple[Path, Path]] = []
        sums = Counts()
        sums.add(kept["counts"])
        for lock in self.folder.glob("*.lock"):
            if lock.stem == self._name or not _is_dead(lock):
                continue
            data = lock.with_suffix(".json")
            if lock.stem not in kept["moved"] and (read := _read(data)) is not None:
                sums.add(read["counts"])
                kept["moved"].append(lock.stem)
            found.append((lock, data))
        if found:
            kept = {"counts": sums.as_data(), "moved": kept["moved"][-_REMEMBERED:]}
            _write(self.folder / ENDED, kept)
            for lock, data in found:
                data.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
        counts: dict[str, Any] = kept["counts"]
        return counts

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


_own: Published | None = None
_starting = threading.Lock()


def own() -> Published:
    """This process's, which writes by itself from now on; raises OSError."""
    global _own
    with _starting:
        if _own is None:
            metrics.counts.by_tenant = settings.METRICS_TENANT_LABEL
            _own = Published(settings.DATA_DIR / "metrics", metrics.counts)
            atexit.register(_own.leave)
            threading.Thread(target=_keep_publishing, args=[_own], name="metrics", daemon=True).start()
        return _own


def start() -> None:
    """Begin to tell the others, if the folder can be used; calls are made all the same."""
    try:
        own()
    except OSError as error:
        logger.error("metrics.unavailable", error=error.strerror)


def stop() -> None:
    """Write no more; what was counted is for the others to keep."""
    global _own
    with _starting:
        if _own is not None:
            atexit.unregister(_own.leave)
            _own.leave()
            _own = None


def _keep_publishing(published: Published) -> None:
    failed = False
    while True:
        try:
            published.publish()
            failed = False
        except OSError as error:
            if not failed:
                logger.warning("metrics.not_written", error=error.strerror)
            failed = True
        if published.left.wait(PUBLISH_EVERY_S):
            return


def _after_fork() -> None:
    global _own, _starting
    _starting = threading.Lock()
    if _own is not None:
        atexit.unregister(_own.leave)
        _own.forget()
        _own = None


os.register_at_fork(after_in_child=_after_fork)


def _is_dead(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """None if it is not there, or no use."""
    try:
        found = orjson.loads(path.read_bytes())
        Counts().add(found["counts"])
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        logger.warning("metrics.unreadable", file=path.name)
        return None
    return found  # type: ignore[no-any-return]


def _write(path: Path, data: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(orjson.dumps(data))
    temporary.replace(path)
