"""Fixtures of the tests of limits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import backend
from tests.usage.redis_server import BINARY, RedisServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis whose database nobody else uses, or a running one: use keys of your own."""
    if BINARY is not None:
        server = RedisServer()
        server.start()
        yield server.url
        server.stop()
    elif backend.chosen() == backend.SERVERS:
        yield backend.server_urls()[1]
    else:
        pytest.skip("there is no redis-server on this machine")


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    if BINARY is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisServer()
    server.start()
    yield server
    server.stop()
