"""`manage.py run`: prepares what is not prepared, then runs web, workers and scheduler until Ctrl-C."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from jobs.services import broker
from llmadmin import supervisor
from llmadmin.bootstrap import FirstRun, bootstrap, first_run_file

BACKLOG = 2048


class Command(BaseCommand):
    help = "Prepare the installation (once), then run web, workers and scheduler in the foreground."

    def handle(self, *args: Any, **options: Any) -> None:
        lock = self._only_one()
        listening = bound_socket(settings.HOST, settings.PORT)
        try:
            broker.check()
        except OSError as error:
            raise CommandError(f"The broker does not answer ({error}). Check REDIS_URL.") from error
        try:
            first = bootstrap(self._say)
        except DatabaseError as error:
            raise CommandError(f"The database does not answer: {str(error).strip()}") from error
        except OSError as error:
            raise CommandError(f"Cannot use {error.filename or settings.DATA_DIR}: {error.strerror}.") from error
        connections.close_all()
        listening.listen(BACKLOG)
        plan = {
            "programs": programs(listening.fileno()),
            "descriptors": [listening.fileno()],
            "pid_file": str(settings.DATA_DIR / "pids.json"),
            "banner": banner(first),
            "backoff_s": 1.0,
        }
        for descriptor in (lock, listening.fileno()):
            os.set_inheritable(descriptor, True)
        self.stdout.flush()
        # From here on a script that imports nothing of ours: it holds the lock and the socket, and stays small.
        script = [sys.executable, "-P", "-X", "utf8", supervisor.__file__]
        os.execve(sys.executable, script, {**os.environ, supervisor.PLAN: json.dumps(plan)})  # noqa: S606

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _only_one(self) -> int:
        """The descriptor of a lock that is held until the last process that has it is gone."""
        path = settings.DATA_DIR / "run.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CommandError(f"Cannot write {path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise CommandError(
                f"llmadmin is running already in {settings.DATA_DIR}. Stop it, or choose another DATA_DIR."
            ) from None
        return descriptor


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that nobody else can have; it refuses connections until it listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except socket.gaierror as error:
        raise CommandError(f"HOST={host} is no address of this machine.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} on {host} is in use. Stop what uses it, or choose another: PORT={port + 1} make run"
            ) from error
        raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return opened


def programs(descriptor: int) -> list[dict[str, Any]]:
    """What the supervisor runs: workers and scheduler first, and web when jobs can be done."""
    from llmadmin.web import LISTEN_FD

    *quick, models = settings.JOB_QUEUES  # what takes hours has a worker of its own: it never keeps the rest waiting
    workers = settings.WEB_WORKERS
    return [
        worker("worker", quick, settings.WORKER_CONCURRENCY),
        worker("models-worker", [models], settings.MODEL_WORKER_CONCURRENCY),
        {"name": "scheduler", "argv": [sys.executable, "-m", "llmadmin.scheduler"], "stage": 1},
        *(
            {
                "name": "web" if workers == 1 else f"web {number}",
                "argv": [sys.executable, "-m", "llmadmin.web"],
                "stage": 2,
                "env": {LISTEN_FD: str(descriptor)},
                "ready_url": f"{settings.LOCAL_URL}/readyz",
            }
            for number in range(1, workers + 1)
        ),
    ]


def worker(name: str, queues: list[str], concurrency: int) -> dict[str, Any]:
    """A Celery worker that serves these queues, ready when it takes messages."""
    from jobs.tasks import READY_FILE

    ready = str(settings.DATA_DIR / f"{name}.ready")
    quiet = "ignore:You're running the worker with superuser privileges"  # usual in a container; nothing is pickled
    argv = [sys.executable, "-W", quiet, "-m", "celery", "--quiet", "--app", "llmadmin", "worker"]
    argv += ["--hostname", f"{name}@%h", "--queues", ",".join(queues), "--concurrency", str(concurrency)]
    argv += ["--loglevel", settings.LOG_LEVEL, "--without-gossip", "--without-mingle"]
    return {"name": name, "argv": argv, "stage": 1, "env": {READY_FILE: ready}, "ready_file": ready}


def banner(first: FirstRun | None) -> str:
    """What a person is told when everything runs; the logins the first time only."""
    url = settings.PUBLIC_URL
    lines = [
        "",
        f"  llmadmin is ready at {url}",
        f"    admin        {url}/admin/",
        f"    API and docs {url}/api/docs/",
        f"    models       {url}/v1/models",
    ]
    if first is not None:
        lines += [
            "",
            "  Logins, shown once:",
            f"    user         {first.admin_user}",
            f"    password     {first.admin_password}",
            f"    tenant       {first.tenant_id}",
            f"    API token    {first.api_token}",
            f"  They are also in {_short(first_run_file())}: delete it once you have read it.",
        ]
    elif first_run_file().exists():
        lines.append(f"    logins       {_short(first_run_file())}")
    return "\n".join([*lines, "", "  Ctrl-C ends it.", ""])


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
