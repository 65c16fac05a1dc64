"""Runs the suite on every backend that answers: `python -m tests [pytest's arguments]`.

SQLite with the filesystem broker always; PostgreSQL with Redis where both answer (DATABASE_URL and REDIS_URL, or
their default local ports), there without what no backend changes and has run already. With CI=true a missing
server is a failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests import backend, leftovers

PROCESSES = str(min(os.cpu_count() or 2, 4) + 1)  # some of them always wait for something


def run(name: str, arguments: list[str], **env: str) -> bool:
    print(f"\nbackend: {backend.NAMES[name]}", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", os.environ.get("TEST_PROCESSES", PROCESSES), *arguments]
    with subprocess.Popen(command, env={**os.environ, "TEST_BACKEND": name, **env}) as process:
        signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(signal.SIGINT))  # pytest then cleans up
        return process.wait() == 0


def main() -> int:
    required = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    silent = backend.silent_servers()
    if not silent:
        leftovers.remove()
    started = time.monotonic()
    outcomes = {backend.EMBEDDED: run(backend.EMBEDDED, sys.argv[1:])}
    if not silent:
        outcomes[backend.SERVERS] = run(backend.SERVERS, sys.argv[1:], **{backend.ONCE_ALREADY: "1"})
    print(f"\n{time.monotonic() - started:.0f} s in all")
    for name, passed in outcomes.items():
        print(f"backend: {backend.NAMES[name]}: {'passed' if passed else 'FAILED'}")
    if silent:
        missing = " and ".join(url.split("@")[-1].split("//")[-1] for url in silent)
        verdict = "MISSING" if required else "not run"
        print(f"backend: {backend.NAMES[backend.SERVERS]}: {verdict}, no answer at {missing}")
    return 0 if all(outcomes.values()) and not (silent and required) else 1


if __name__ == "__main__":
    sys.exit(main())
