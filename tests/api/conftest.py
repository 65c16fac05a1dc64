"""Fixtures of the REST tests."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.api.world import World, bearer, make_world
from tests.people import People, make_token


@pytest.fixture
def world(people: People) -> World:
    return make_world(people)


@pytest.fixture
def owner(world: World) -> Client:
    """The owner's token, with every scope."""
    return bearer(make_token(world.tenant, user=world.people.owner))
