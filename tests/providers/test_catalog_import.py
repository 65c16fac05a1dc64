"""The job that imports the catalogue's fixtures."""

from __future__ import annotations

import pytest

from core.audit import SYSTEM
from jobs.models import JobState
from jobs.services import queue, requests, runner
from providers.models import LLM, LLMFactory
from tests.people import actor_of, make_user

pytestmark = pytest.mark.django_db(transaction=True)  # a job that takes long says so through another connection


def test_the_fixtures_are_imported_once_however_many_ask() -> None:
    asked = {"params": {}, "actor": actor_of(make_user()), "is_staff": True}
    first = requests.submit("maintenance:catalog_import", **asked)
    assert requests.submit("catalog_import", **asked).joined
    runner.run(first.job.pk)
    first.job.refresh_from_db()
    assert (first.job.state, first.job.progress, first.job.tenant_id) == (JobState.COMPLETED, 100, "")
    assert LLMFactory.objects.count() > 50 and LLM.objects.exists()
    again = queue.enqueue("catalog_import", params={}, actor=SYSTEM)
    runner.run(again.pk)
    again.refresh_from_db()
    assert again.state == JobState.COMPLETED
    assert again.result["files"] == first.job.result["files"]
