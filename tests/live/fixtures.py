"""The one installation that the live tests of a run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A started installation that may call upstreams on this machine. Shared: leave it running."""
    started = Stack(env={"ALLOWED_NETWORKS": "127.0.0.0/8", "JOB_HEARTBEAT_S": "1", "JOB_LEASE_S": "4"}).start()
    yield started
    started.close()


@pytest.fixture
def new_stack() -> Iterator[Callable[..., Stack]]:
    """Makes installations (not started yet) that a test may break; they are gone when it ends."""
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        made.append(Stack(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
