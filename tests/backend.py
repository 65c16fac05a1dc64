"""Where a test run keeps its rows and messages: SQLite and files, or PostgreSQL and Redis.

`TEST_BACKEND` says which ("embedded" unless set, or "servers"). Every process has a folder, a database and a Redis
prefix of its own, so that runs beside each other never meet.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

ONCE_ALREADY = "TEST_ONCE_ALREADY"  # set when an earlier backend of this run did what no backend changes
EMBEDDED, SERVERS = "embedded", "servers"
NAMES = {EMBEDDED: "sqlite + filesystem", SERVERS: "postgresql + redis"}
DEFAULT_DATABASE_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"

# Settings of a developer's shell that must not leak into the tests.
FOREIGN = (
    "ALLOWED_FACTORIES",
    "ALLOWED_HOSTS",
    "ALLOWED_NETWORKS",
    "CSRF_TRUSTED_ORIGINS",
    "DATABASE_URL",
    "DATA_DIR",
    "DEBUG",
    "FIELD_ENCRYPTION_KEY",
    "HOST",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "PORT",
    "PROBE_WAIT",
    "PUBLIC_URL",
    "REDIS_PREFIX",
    "REDIS_URL",
    "SECRET_KEY",
    "WEB_WORKERS",
    "WORKER_CONCURRENCY",
)


def chosen() -> str:
    """The backend of this run."""
    name = os.environ.get("TEST_BACKEND") or EMBEDDED
    if name not in NAMES:
        raise ValueError(f"TEST_BACKEND must be one of {', '.join(NAMES)}, not {name!r}.")
    return name


def server_urls() -> tuple[str, str]:
    """Where PostgreSQL and Redis are, as the environment of the run says or by default."""
    return (
        os.environ.get("TEST_DATABASE_URL") or os.environ.get("DATABASE_URL") or DEFAULT_DATABASE_URL,
        os.environ.get("TEST_REDIS_URL") or os.environ.get("REDIS_URL") or DEFAULT_REDIS_URL,
    )


def silent_servers() -> list[str]:
    """Those of the two servers that do not answer; empty when both do."""
    database, redis = server_urls()
    return [url for url, port in ((database, 5432), (redis, 6379)) if not _answers(url, port)]


def _answers(url: str, default_port: int) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or default_port), timeout=2):
            return True
    except OSError:
        return False


def fresh_folder(purpose: str) -> Path:
    """A new private folder that is gone when this process ends."""
    path = Path(tempfile.mkdtemp(prefix=f"llmadmin-{purpose}-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child that exits must not take it away
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def fresh_name() -> str:
    """A name for a database or a Redis prefix that nobody else has."""
    return f"llmadmin_test_{os.getpid()}_{secrets.token_hex(4)}"


def prepare_environment() -> str:
    """Set what the settings read, for this process alone; returns the name it chose for its database and prefix."""
    name = fresh_name()
    database, redis = server_urls()
    # Kept for the processes of the run that come after this one and make their own choice.
    os.environ["TEST_DATABASE_URL"], os.environ["TEST_REDIS_URL"] = database, redis
    for variable in FOREIGN:
        os.environ.pop(variable, None)
    os.environ["DATA_DIR"] = str(fresh_folder("data"))
    os.environ["REDIS_PREFIX"] = f"{name}:"
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    # A test inside a transaction holds the database: no other thread is to confirm its jobs meanwhile.
    os.environ["JOB_HEARTBEAT_S"], os.environ["JOB_LEASE_S"] = "60", "240"
    # Nor is a call to be counted without Redis only because the machine is busy.
    os.environ["LIMITS_REDIS_TIMEOUT_MS"] = "5000"
    if chosen() == SERVERS:
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = database, redis
    return name
