"""Real processes on a real database: killed in the middle, and all at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tenants.models import TenantLLM
from tests import backend
from tests.live.processes import end_with_the_tests
from tests.live.stack import ROOT
from tests.people import People
from tests.usage.calls import calls_of_ledger, check_books, make_models
from usage.models import UsageRecord
from usage.records import from_line

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def models(people: People) -> list[int]:
    return [model.pk for model in make_models(people.tenant, 4)]


def crowd(part: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Run a part of tests.usage.crowd on this test's database; what it printed."""
    name = connection.settings_dict["NAME"]
    if backend.chosen() == backend.SERVERS:
        url = f"{backend.server_urls()[0].rpartition('/')[0]}/{name}"
    else:
        url = f"sqlite:///{name}"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    env = {**kept, "DATABASE_URL": url, "DATA_DIR": str(folder), "LOG_LEVEL": "ERROR", "DATABASE_POOL_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.usage.crowd", part, json.dumps(options)],
        cwd=ROOT,
        env={**env, "DJANGO_SETTINGS_MODULE": "llmadmin.settings"},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=end_with_the_tests,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def deadlocks() -> int:
    """How many PostgreSQL has found in this database; 0 on SQLite, which has none."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def test_every_append_that_returned_is_booked_once_though_its_process_was_killed(
    models: list[int], tmp_path: Path
) -> None:
    said = crowd("killed", tmp_path, seed=7, times=20, models=models)
    reported = said["reported"]
    booked = Counter(UsageRecord.objects.values_list("id", flat=True))
    assert len(reported) >= 20
    assert set(reported) <= set(booked)
    assert booked.most_common(1)[0][1] == 1
    assert len(booked) <= len(reported) + 20  # each was killed between an append and its report at most once
    assert said["left"] == []
    check_books(calls_of_ledger())


def test_ledgers_that_get_the_same_calls_at_once_never_deadlock(models: list[int], tmp_path: Path) -> None:
    before = deadlocks()
    said = crowd("racing", tmp_path, seed=11, calls=400, processes=4, models=models, rival=False)
    assert said["failures"] == {}
    assert deadlocks() == before
    check_books(from_line(line.encode()) for line in said["lines"])


def test_a_ledger_gives_way_to_others_who_change_the_same_models(models: list[int], tmp_path: Path) -> None:
    """They take the rows in another order; the ledger begins again before the database would make them its victim."""
    before = deadlocks()
    said = crowd("racing", tmp_path, seed=13, calls=300, processes=2, models=models, rival=True)
    assert said["failures"] == {}
    assert deadlocks() == before
    assert set(TenantLLM.objects.values_list("max_tokens", flat=True)) == {4096}
    check_books(from_line(line.encode()) for line in said["lines"])
