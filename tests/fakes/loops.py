"""Running a test in an event loop: in asyncio's own, and in the one that the gateway runs in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

WAIT_S = 20
Run = Callable[[Coroutine[Any, Any, None]], None]
"""The fixture `run`: runs a coroutine to its end, and fails a test that hangs."""


async def eventually(true: Callable[[], bool]) -> None:
    """Return when it is; raises TimeoutError if that takes too long."""
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.005)
