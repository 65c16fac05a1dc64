"""Fixtures around the fakes; a pytest plugin (`pytest_plugins = ["tests.fakes.plugin"]`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from tests.fakes.langfuse import FakeLangfuse
from tests.fakes.loops import Run
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


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The test runs in both loops."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda main: runner.run(asyncio.wait_for(main, 60))
