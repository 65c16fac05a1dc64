"""Fixtures around the fakes; a pytest plugin (`pytest_plugins = ["tests.fakes.plugin"]`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.langfuse import FakeLangfuse
from tests.fakes.upstream import FakeUpstream


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """A healthy fake model server on loopback; tell it to misbehave path by path."""
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def langfuse_server() -> Iterator[FakeLangfuse]:
    """A Langfuse that knows one project."""
    with FakeLangfuse() as fake:
        yield fake
