"""Looking at processes, and waiting for things to happen."""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def end_with_the_tests() -> None:
    """For a child of a test, between fork and exec: it is told to stop when the test run is killed."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in family(int(child)))]


def gone(pids: list[int], *, within_s: float = 5.0) -> bool:
    """Whether all of them end in time (a zombie has ended)."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], Any], *, within_s: float = 30.0, seen: Callable[[], object] = str) -> Any:
    """What the condition says once it says something; `seen` tells what there is instead when it never does."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"it did not happen; seen: {seen()}")
