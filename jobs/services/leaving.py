"""Whether this worker was told to stop: its main process hears of it, those of its pool have to know."""

from __future__ import annotations

import mmap

GRACE_S = 2.0  # what is nearly done is let finish; a supervisor waits for no more than some seconds
_said = mmap.mmap(-1, 1)  # one byte that is shared with every process forked from this one; no lock to die with


def say() -> None:
    """This worker takes no more jobs, and gives back those that are not done within GRACE_S."""
    _said[0] = 1


def was_said() -> bool:
    """Whether the worker that this process belongs to is about to stop."""
    return _said[0] == 1
