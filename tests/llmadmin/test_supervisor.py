"""The supervisor with programs of a line or two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmadmin import supervisor

pytestmark = pytest.mark.once

SLEEP = "import time; time.sleep(60)"


def program(name: str, code: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "argv": [sys.executable, "-c", code], "stage": 1, **more}


def supervise(tmp_path: Path, *programs: dict[str, Any]) -> subprocess.Popen[str]:
    plan = {
        "programs": list(programs),
        "descriptors": [],
        "pid_file": str(tmp_path / "pids.json"),
        "banner": "all is ready",
        "backoff_s": 0.05,
    }
    return subprocess.Popen(
        [sys.executable, "-P", supervisor.__file__],
        env={**os.environ, supervisor.PLAN: json.dumps(plan)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


def line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    assert any(text in found for found in iter(process.stdout.readline, ""))


def test_it_stops_its_programs_when_it_is_told_to(tmp_path: Path) -> None:
    process = supervise(tmp_path, program("a", SLEEP), program("b", SLEEP, stage=2))
    line(process, "all is ready")
    pids = json.loads((tmp_path / "pids.json").read_text())
    process.send_signal(signal.SIGINT)
    status, output = ended(process)
    assert (status, "Stopped." in output) == (0, True)
    assert not any(Path(f"/proc/{pids[name]}").exists() for name in "ab")
    assert not (tmp_path / "pids.json").exists()


def test_the_second_stage_waits_for_the_first(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    slow = f"import time, pathlib; time.sleep(0.5); pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    seen = f"import pathlib, time; print('seen', pathlib.Path({str(ready)!r}).exists(), flush=True); time.sleep(60)"
    process = supervise(tmp_path, program("slow", slow, ready_file=str(ready)), program("late", seen, stage=2))
    line(process, "seen True")
    process.terminate()
    ended(process)


def test_a_program_that_dies_once_is_started_again(tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = (
        f"import pathlib, time, sys; p = pathlib.Path({str(once)!r})\n"
        "if not p.exists(): p.touch(); sys.exit(3)\n"
        "print('second life', flush=True); time.sleep(60)"
    )
    process = supervise(tmp_path, program("cat", code))
    line(process, "The cat stopped (exit status 3)")
    line(process, "second life")
    process.terminate()
    assert ended(process)[0] == 0


def test_a_program_that_keeps_dying_ends_the_run_with_a_reason(tmp_path: Path) -> None:
    process = supervise(tmp_path, program("steady", SLEEP), program("mayfly", "raise SystemExit(7)"))
    status, output = ended(process)
    assert status == 1
    assert "The mayfly stopped 4 times right after its start (exit status 7): giving up." in output


def test_a_straggler_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    process = supervise(tmp_path, program("deaf", deaf))
    line(process, "deaf")
    process.terminate()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)  # impatience
    began = time.monotonic()
    assert ended(process)[0] == 0
    assert time.monotonic() - began < 3


def test_a_program_that_is_killed_is_started_again_however_often(tmp_path: Path) -> None:
    process = supervise(tmp_path, program("phoenix", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    for _ in range(2 * supervisor.EARLY_DEATHS):
        line(process, "The phoenix stopped (signal SIGKILL)")
    process.terminate()
    assert "giving up" not in ended(process)[1]
