"""Removes what test runs that were killed have left on the servers."""

from __future__ import annotations

import os
import re

import psycopg
import redis

from tests import backend

_NAME = re.compile(r"(?:test_)?llmadmin_test_(\d+)_[0-9a-f]{8}")


def _is_orphan(name: str) -> bool:
    """Whether a process of a test run made it that is gone by now."""
    found = _NAME.match(name)
    return found is not None and not os.path.exists(f"/proc/{found[1]}")


def remove() -> None:
    """Drop the databases and keys of dead runs of this machine; whoever is connected to one keeps it."""
    if not os.path.exists("/proc/self"):
        return  # no way to know who is alive
    database, redis_url = backend.server_urls()
    with psycopg.connect(database, autocommit=True) as admin:
        unused = admin.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE '%llmadmin_test_%'"
            " AND datname NOT IN (SELECT datname FROM pg_stat_activity WHERE datname IS NOT NULL)"
        )
        for (name,) in unused.fetchall():
            if _is_orphan(name):
                admin.execute(f'DROP DATABASE IF EXISTS "{name}"')
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter("llmadmin_test_*"):
            if _is_orphan(key):
                client.delete(key)
