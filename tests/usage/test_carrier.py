"""The lock of those who carry, and the process that does nothing else: in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.processes import gone, until
from usage.carrier import LOCK, TITLE, CarrierLock

FORK = """
import os, sys, threading, time
from pathlib import Path
from usage import carrier
folder, kept = Path(sys.argv[1]), os.open(os.devnull, os.O_RDONLY)
def work(parent):
    try: os.fstat(kept)
    except OSError: (folder / "closed").touch()
    (folder / "begun").touch()
    parent.has_ended()
    (folder / "ended").touch()
print(carrier.fork(work, close=[kept]), flush=True)
time.sleep(60)
"""


def forked(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A parent in a group of its own, and its child's process id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, str(folder)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    until((folder / "begun").exists)
    return parent, child


def test_only_one_carries_at_a_time(tmp_path: Path) -> None:
    one, other = CarrierLock(tmp_path), CarrierLock(tmp_path)
    assert one.holder() == 0
    assert one.take()
    assert one.take()
    assert other.holder() == os.getpid()
    assert not other.take()
    one.give_back()
    one.give_back()
    assert other.take()
    assert not one.take()


def test_only_its_holder_shows_that_it_gets_on(tmp_path: Path) -> None:
    one, other = CarrierLock(tmp_path), CarrierLock(tmp_path)
    assert one.silent_s() == 0
    assert one.take()
    os.utime(tmp_path / LOCK, (0, 0))
    other.beat()
    assert one.silent_s() == pytest.approx(time.time(), abs=60)
    one.beat()
    assert other.silent_s() < 60
    assert other.holder() == os.getpid()


def test_who_is_killed_carries_no_more(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from usage.carrier import CarrierLock;"
        "lock = CarrierLock(Path(sys.argv[1])); print(lock.take(), flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    lock = CarrierLock(tmp_path)
    assert not lock.take()
    holder.kill()
    holder.communicate()
    assert lock.take()


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    lock = CarrierLock(tmp_path)
    assert lock.take()
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        lock.give_back()
        until(CarrierLock(tmp_path).take)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_child_ends_with_its_parent_and_not_by_what_is_sent_to_the_group(tmp_path: Path) -> None:
    parent, child = forked(tmp_path)
    assert Path(f"/proc/{child}/comm").read_text().strip() == TITLE
    assert (tmp_path / "closed").exists()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(child, number)
    assert not gone([child], within_s=0.5)
    parent.kill()
    parent.communicate()
    assert gone([child], within_s=20)
    assert (tmp_path / "ended").exists()


def test_a_child_that_fails_says_why_and_ends_as_itself(tmp_path: Path) -> None:
    code = (
        "import os, atexit; from usage import carrier; atexit.register(print, 'the end of the parent')\n"
        "def work(parent): raise OSError('there is no place')\n"
        "print('status', os.waitstatus_to_exitcode(os.waitpid(carrier.fork(work), 0)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert "there is no place" in said
    assert "status 1" in said
    assert said.count("the end of the parent") == 1
