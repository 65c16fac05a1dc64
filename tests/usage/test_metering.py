"""Spool, flusher and ledger together, as a process has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection

from tests.live.processes import until
from tests.people import People
from tests.usage.calls import check_books, make_call, make_models
from usage import tasks
from usage.models import UsageDaily, UsageRecord
from usage.services import metering

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.USAGE_SPOOL_DIR = tmp_path / "usage"
    return tmp_path / "usage"


def test_calls_are_booked_in_the_background(people: People) -> None:
    [model] = make_models(people.tenant, 1)
    calls = [make_call(tenant_llm_id=model.pk) for _ in range(50)]
    spool = metering.open_spool()
    flusher = metering.open_flusher(spool)
    flusher.start()
    for call in calls:
        spool.append(call)
    assert flusher.drain(60)
    check_books(calls)
    flusher.close()


def rename(table: str, to: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{table}" RENAME TO "{to}"')


def test_a_database_that_fails_half_way_gets_everything_later(folder: Path) -> None:
    """Records can be inserted, but not rolled up: nothing of that may stay."""
    table = UsageDaily._meta.db_table
    spool = metering.open_spool()
    flusher = metering.open_flusher(spool)
    calls = [make_call() for _ in range(5)]
    rename(table, "elsewhere")
    try:
        for call in calls:
            spool.append(call)
        flusher.start()
        until(lambda: flusher.failures)
        assert spool.backlog_bytes > 0
        assert not UsageRecord.objects.exists()
    finally:
        rename("elsewhere", table)
    assert flusher.drain(60)
    flusher.close()
    check_books(calls)
    assert list(folder.glob("*.spool")) == []


def test_beat_delivers_what_was_left_and_prunes() -> None:
    call = make_call()
    spool = metering.open_spool()
    spool.append(call)
    spool.close()
    tasks.replay()
    tasks.prune()
    check_books([call])
    assert metering.replay() == 0
    scheduled = {entry["task"] for entry in current_app.conf.beat_schedule.values()}
    assert {tasks.replay.name, tasks.prune.name} <= scheduled
