"""A PostgreSQL that a test starts on a port of its own, so that it can be stopped in the middle of everything."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from tests.backend import fresh_folder
from tests.live.processes import end_with_the_tests
from tests.live.stack import free_port

STARTS_WITHIN_S = 60.0


def _found() -> Path | None:
    """Where the server's programs are; Debian keeps them off the PATH."""
    if (program := shutil.which("initdb")) is not None:
        return Path(program).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _account() -> dict[str, object] | None:
    """The account it runs as: it refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        return None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


BINARIES, ACCOUNT = _found(), _account()
IS_THERE = BINARIES is not None and ACCOUNT is not None


class PostgresServer:
    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://tests@127.0.0.1:{self.port}/postgres"
        self.process: subprocess.Popen[bytes] | None = None
        folder = fresh_folder("postgres")
        self._data = folder / "data"
        account = ACCOUNT or {}
        if "user" in account:
            os.chown(folder, int(str(account["user"])), int(str(account["group"])))
            for parent in folder.parents:
                if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)  # it has to come through
        made = ["-D", str(self._data), "-U", "tests", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", *made)

    def start(self) -> None:
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        self.process = subprocess.Popen(
            [str(self._program("postgres")), "-D", str(self._data), *options, "-c", "fsync=off"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_the_tests,
            **(ACCOUNT or {}),  # type: ignore[call-overload]
        )
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError("PostgreSQL did not start")

    def stop(self) -> None:
        """At once, as when its machine fails: it has to recover at its next start."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(STARTS_WITHIN_S)
            self.process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._program(program)), *arguments],
            cwd="/",
            check=True,
            capture_output=True,
            **(ACCOUNT or {}),  # type: ignore[call-overload]
        )

    def _program(self, name: str) -> Path:
        assert BINARIES is not None
        return BINARIES / name
