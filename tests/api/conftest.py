"""Fixtures of the REST tests."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.api.world import World, bearer, make_world
from tests.people import People, make_token

NUMBERS = {"properties": {"numbers": {"type": "array", "items": {"type": "integer"}}}, "required": ["numbers"]}


@pytest.fixture(autouse=True)
def job_types(settings: Any) -> None:
    """There is a job that managers of a tenant may ask for, and one for staff."""
    added = {"handler": "tests.jobs.handlers.add", "params": NUMBERS, "queue": "models"}
    settings.JOB_TYPES = {
        **settings.JOB_TYPES,
        "sums:add": {**added, "who": "managers", "aliases": ["add"], "suspendable": True},
        "sums:audit": {**added, "who": "staff"},
    }


@pytest.fixture
def world(people: People) -> World:
    return make_world(people)


@pytest.fixture
def owner(world: World) -> Client:
    """The owner's token, with every scope."""
    return bearer(make_token(world.tenant, user=world.people.owner))
