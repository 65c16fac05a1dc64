"""A whole installation, really started: `manage.py run` as a process of its own, on a free port and its own data."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests import backend
from tests.live.processes import end_with_the_tests

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 180.0  # with browsers and other installations on the same cores


@dataclass(frozen=True)
class Admin:
    username: str
    password: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, *, token: str = "", timeout_s: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a GET; status 0 when nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


@functools.cache
def template(command: str) -> Stack:
    """An installation in which this command was run, and nothing else; to be copied."""
    made = Stack()
    made.manage(command, "-v0")
    atexit.register(made.close)
    return made


class Stack:
    """Started by `start()`, gone after `close()`. On the backend of the run, with a database and prefix of its own.

    `prepared_by`: it is a copy, keys and all, of an installation in which this command of `manage.py` was run, which is
    quicker than to run it anew: "migrate" makes the tables, "bootstrap" fills in catalogue and first logins as well.
    """

    def __init__(
        self, *, env: Mapping[str, str] | None = None, data_dir: Path | None = None, prepared_by: str = ""
    ) -> None:
        self.name = backend.fresh_name()
        self.data_dir = data_dir or backend.fresh_folder("stack")
        self._template = template(prepared_by) if prepared_by else None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = backend.fresh_folder("log") / "run.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._database = backend.chosen() == backend.SERVERS
        self.env = self._environment(env or {})

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        env = {**kept, "PORT": str(self.port), "DATA_DIR": str(self.data_dir), "WORKER_CONCURRENCY": "2"}
        env |= {"MODEL_WORKER_CONCURRENCY": "2"}
        if self._template is not None:
            shutil.copytree(self._template.data_dir, self.data_dir, dirs_exist_ok=True)
        if self._database:
            database, redis_url = backend.server_urls()
            copied = f' TEMPLATE "{self._template.name}"' if self._template is not None else ""
            with psycopg.connect(database, autocommit=True) as admin:
                admin.execute(f'CREATE DATABASE "{self.name}"{copied}')
            env |= {"DATABASE_URL": f"{database.rsplit('/', 1)[0]}/{self.name}"}
            env |= {"REDIS_URL": redis_url, "REDIS_PREFIX": f"{self.name}:"}
        return {**env, **more}

    # --- starting and stopping ---

    def start(self) -> Stack:
        """Start it and wait until it is ready."""
        self.launch()
        end = time.monotonic() + START_WITHIN_S
        while fetch(f"{self.url}/readyz")[0] != 200:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > end:
                self.close()
                raise AssertionError(f"The stack did not start:\n{self.log()[-4000:]}")
            time.sleep(0.1)
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it and wait for nothing."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "run"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_the_tests,
            )
        return self.process

    def stop(self, number: int = signal.SIGTERM, *, within_s: float = 20.0) -> int:
        """End it as Ctrl-C or a service manager does; returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)

    def close(self) -> None:
        """Stop it, and drop its database and its keys in Redis."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self._database:
            return
        database, redis_url = backend.server_urls()
        with psycopg.connect(database, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        with redis.Redis.from_url(redis_url) as client:
            if keys := list(client.scan_iter(f"{self.name}:*")):
                client.delete(*keys)

    # --- what it is made of ---

    def pids(self) -> dict[str, int]:
        return json.loads((self.data_dir / "pids.json").read_text())

    def worker_pid(self, name: str = "worker") -> int:
        return self.pids()[name]

    def restart_worker(self, number: int = signal.SIGKILL, *, name: str = "worker") -> int:
        """End the worker (kill -9 unless told otherwise) and wait for the next one; returns its pid."""
        old = self.worker_pid(name)
        ready = self.data_dir / f"{name}.ready"
        os.kill(old, number)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.worker_pid(name) != old and ready.exists():
                return self.worker_pid(name)
            time.sleep(0.1)
        raise AssertionError(f"No new worker:\n{self.log()[-2000:]}")

    # --- how to use it ---

    @property
    def first_run(self) -> dict[str, str]:
        return json.loads((self.data_dir / "first-run.json").read_text())

    @property
    def token(self) -> str:
        return self.first_run["api_token"]

    @property
    def tenant_id(self) -> str:
        return self.first_run["tenant_id"]

    @property
    def admin(self) -> Admin:
        first = self.first_run
        return Admin(first["admin_user"], first["admin_password"])

    def log(self) -> str:
        """All that it and its programs have said."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def get(self, path: str, *, token: str | None = None) -> tuple[int, Any]:
        """Status and JSON of a GET with the stack's own token (or another, or with "" none)."""
        status, body = fetch(self.url + path, token=self.token if token is None else token)
        return status, json.loads(body) if body[:1] in (b"{", b"[") else body

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """The output of a command of `manage.py` in the stack's environment."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
