"""Ends a process when the one that started it is gone, so that a killed supervisor or worker leaves no orphans.

By watching who the parent is: that works on every Unix, and in processes that were forked from threads, where Linux's
death signal would come when the thread ends.
"""

from __future__ import annotations

import os
import threading
import time

LOOK_EVERY_S = 1.0
PARENT_PID = "LLMADMIN_PARENT_PID"


def end_with_parent(parent_pid: int) -> None:
    """From now on, end this process at once when `parent_pid` is not its parent any more."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_with_supervisor() -> None:
    """The same for the process that `manage.py run` started, if it did; anywhere else it does nothing."""
    if pid := os.environ.get(PARENT_PID):
        end_with_parent(int(pid))
