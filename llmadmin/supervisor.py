"""Keeps the programs of one installation running: what `manage.py run` turns into once everything is prepared.

    stage 1: worker, scheduler ── ready ──▶ stage 2: web ── ready ──▶ banner;   a death ──▶ a new start, later each time

It is started as a script of its own, with the plan as JSON in its environment, and imports only the standard library:
it stays for as long as the installation runs, and what it does not load cannot take memory or break.
Every program has a process group of its own, so that Ctrl-C reaches only the supervisor, which then ends them in turn.

The scheduler is a program of its own and not `celery worker -B`: embedded, nobody would notice it die, and it
would outlive a worker that is killed; here it is restarted like any other, and never runs twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PLAN = "LLMADMIN_PLAN"
EARLY_S = 15.0
EARLY_DEATHS = 4
BACKOFF_MOST_S, BACKOFF_KILLED_S = 30.0, 5.0
READY_WITHIN_S = 120.0
END_WITHIN_S = 8.0
LOOK_EVERY_S = 0.1


@dataclass
class Program:
    """One child. Ready when its file exists or its URL answers 200; at once when it has neither."""

    name: str
    argv: list[str]
    stage: int
    env: dict[str, str] = field(default_factory=dict)
    ready_file: str = ""
    ready_url: str = ""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    deaths: int = 0
    ready: bool = False

    def start(self, descriptors: list[int]) -> None:
        if self.ready_file:
            Path(self.ready_file).unlink(missing_ok=True)
        self.ready = False
        self.started_at, self.restart_at = time.monotonic(), 0.0
        self.process = subprocess.Popen(
            self.argv,
            env={**os.environ, **self.env, "LLMADMIN_PARENT_PID": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,
        )

    def is_ready(self) -> bool:
        if not self.ready:
            self.ready = self._look()
        return self.ready

    def _look(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return False
        if self.ready_file:
            return Path(self.ready_file).exists()
        if self.ready_url:
            try:
                with urllib.request.urlopen(self.ready_url, timeout=5) as answer:  # noqa: S310
                    return bool(answer.status == 200)
            except (OSError, urllib.error.URLError):
                return False
        return True

    def signal(self, number: int) -> None:
        """Send to the whole group: a worker has children of its own."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class Supervisor:
    def __init__(
        self, programs: list[Program], *, descriptors: list[int], pid_file: Path, banner: str, backoff_s: float
    ) -> None:
        self.programs = programs
        self.descriptors = descriptors
        self.pid_file = pid_file
        self.banner = banner
        self.backoff_s = backoff_s  # after a first death; it doubles with each early one that follows
        self.stopping = threading.Event()
        self.hurry = False

    def run(self) -> int:
        """Until it is told to stop, or a program keeps dying; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._told_to_stop)
        status = 0
        try:
            for stage in sorted({program.stage for program in self.programs}):
                status = status or self._start_stage(stage)
            if not status and not self.stopping.is_set():
                say(self.banner)
                status = self._watch(lambda: False)
        finally:
            self._end()
        return status

    def _start_stage(self, stage: int) -> int:
        if self.stopping.is_set():
            return 0
        mine = [program for program in self.programs if program.stage == stage]
        for program in mine:
            program.start(self.descriptors)
        self._write_pids()
        status = self._watch(lambda: all(program.is_ready() for program in mine), within_s=READY_WITHIN_S)
        if status == 0 and not self.stopping.is_set():
            late = [program.name for program in mine if not program.is_ready()]
            if late:
                say(f"Not ready after {READY_WITHIN_S:.0f} s: {', '.join(late)}. See the lines above.")
                return 1
        return status

    def _watch(self, enough: Callable[[], bool], *, within_s: float = float("inf")) -> int:
        """Look after the children until `enough()`, the time is over, or it is told to stop."""
        end = time.monotonic() + within_s
        while not self.stopping.is_set() and time.monotonic() < end and not enough():
            for program in self.programs:
                if program.process is not None and self._has_died_for_good(program):
                    return 1
            self.stopping.wait(LOOK_EVERY_S)
        return 0

    def _has_died_for_good(self, program: Program) -> bool:
        assert program.process is not None  # noqa: S101
        code, at = program.process.poll(), time.monotonic()
        if code is None:
            return False
        if not program.restart_at:
            program.signal(signal.SIGKILL)  # what it may have left behind
            early = at - program.started_at < EARLY_S
            program.deaths = program.deaths + 1 if early else 1
            killed = code < 0  # from outside: it may work the next time, however often that happens
            how = f"signal {signal.Signals(-code).name}" if killed else f"exit status {code}"
            if early and program.deaths >= EARLY_DEATHS and not killed:
                say(f"The {program.name} stopped {program.deaths} times right after its start ({how}): giving up.")
                return True
            most_s = BACKOFF_KILLED_S if killed else BACKOFF_MOST_S
            delay_s = min(self.backoff_s * 2 ** min(program.deaths - 1, 10), most_s)
            say(f"The {program.name} stopped ({how}); starting it again in {delay_s:.0f} s.")
            program.restart_at = at + delay_s
        elif at >= program.restart_at:
            program.start(self.descriptors)
            self._write_pids()
        return False

    def _told_to_stop(self, number: int, _frame: object) -> None:
        if self.stopping.is_set():
            self.hurry = True  # Ctrl-C twice
        self.stopping.set()

    def _end(self) -> None:
        """Web first, so that no request is taken that nobody would work on; whoever is too slow is killed."""
        say("Stopping …")
        end = time.monotonic() + END_WITHIN_S
        for program in sorted(self.programs, key=lambda one: -one.stage):
            if program.process is not None and program.process.poll() is None:
                program.process.send_signal(signal.SIGTERM)
        while self._alive() and time.monotonic() < end and not self.hurry:
            time.sleep(LOOK_EVERY_S)
        for program in self.programs:
            program.signal(signal.SIGKILL)
            if program.process is not None:
                program.process.wait()
        self.pid_file.unlink(missing_ok=True)
        say("Stopped.")

    def _alive(self) -> bool:
        return any(program.process is not None and program.process.poll() is None for program in self.programs)

    def _write_pids(self) -> None:
        pids = {"supervisor": os.getpid()}
        pids |= {program.name: program.process.pid for program in self.programs if program.process is not None}
        temporary = self.pid_file.with_suffix(".new")
        temporary.write_text(json.dumps(pids) + "\n")
        temporary.replace(self.pid_file)


def say(text: str) -> None:
    if text:
        print(text, flush=True)


def main() -> int:
    plan = json.loads(os.environ.pop(PLAN))
    programs = [Program(**program) for program in plan["programs"]]
    return Supervisor(
        programs,
        descriptors=plan["descriptors"],
        pid_file=Path(plan["pid_file"]),
        banner=plan["banner"],
        backoff_s=plan["backoff_s"],
    ).run()


if __name__ == "__main__":
    sys.exit(main())
