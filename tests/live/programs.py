"""A server of somebody else's as a process of ours, for as long as a test needs it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.live.processes import end_with_the_tests
from tests.live.stack import ROOT, fetch

START_WITHIN_S = 60.0
END_WITHIN_S = 10.0


@contextmanager
def running(
    command: Sequence[str], *, healthy: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once a GET of `healthy` (a URL) succeeds; then told to end, and made to end if it does not."""
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_the_tests,
        )
    try:
        end = time.monotonic() + START_WITHIN_S
        while fetch(healthy)[0] != 200:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command[0]} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
