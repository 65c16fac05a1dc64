"""No list gets slower by the row."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.api.test_tenancy import ENDPOINTS
from tests.api.world import World

pytestmark = pytest.mark.django_db
LISTS = [name for name, method in ENDPOINTS if name.endswith("-list") and method == "get"]


def queries(client: Client, path: str) -> tuple[int, int]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(path)
    return len(captured), len(answer.json()["results"])


@pytest.mark.parametrize("name", LISTS)
def test_a_list_takes_as_many_queries_however_long_it_is(world: World, owner: Client, name: str) -> None:
    path = f"{reverse(name)}?page_size=200"
    owner.get(path)  # the first call notes that the token was used
    few, before = queries(owner, path)
    world.grow(12)
    many, after = queries(owner, path)
    assert many == few <= (6 if name == "budget-list" else 5)  # what is spent takes two
    assert after >= before + 12 or name in ("tenant-list", "usage-summary-list")  # the caller's own; one day


def test_no_list_reads_a_secret(world: World, owner: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        for name in LISTS:
            owner.get(reverse(name))
    assert not [query["sql"] for query in captured if '"secret"' in query["sql"]]
