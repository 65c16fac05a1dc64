"""No list gets slower by the row."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.api.test_tenancy import ENDPOINTS
from tests.api.world import World, session
from tests.people import make_user

pytestmark = pytest.mark.django_db
FOR_STAFF = ("service-list",)
LISTS = [name for name, method in ENDPOINTS if name.endswith("-list") and method == "get"]


def staff() -> Client:
    return session(make_user(is_staff=True, is_superuser=True))


def queries(client: Client, path: str) -> tuple[int, int]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(path)
    return len(captured), len(answer.json()["results"])


@pytest.mark.parametrize("name", LISTS)
def test_a_list_takes_as_many_queries_however_long_it_is(world: World, owner: Client, name: str) -> None:
    path = reverse(name) if name == "usage-summary-list" else f"{reverse(name)}?page_size=200"  # it has no pages
    client = staff() if name in FOR_STAFF else owner
    world.grow(1)
    client.get(path)  # the first call notes that the token was used
    few, before = queries(client, path)
    world.grow(12)
    many, after = queries(client, path)
    assert many == few <= {"budget-list": 6, "service-list": 6}.get(name, 5)  # what is spent, and whose, take two
    fixed = ("tenant-list", "usage-summary-list", "job-type-list", "job-group-list")  # the caller's own, one day, data
    assert after >= before + 12 or name in fixed


def test_no_list_reads_a_secret(world: World, owner: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        for name in LISTS:
            owner.get(reverse(name))
    assert not [query["sql"] for query in captured if '"secret"' in query["sql"]]
