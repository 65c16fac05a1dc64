"""Runs a driver's verb over a real socket, as workers do.

ran = run(OLLAMA.install("tiny", remembered={}, options={}), runtime.url, stop_at=lambda told: True)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from django.test import override_settings

from runtimes.drivers.steps import Progress, Steps, Stopped
from runtimes.models import LLMService
from runtimes.services.driving import perform

T = TypeVar("T")
KEY_VARIABLE = "A_RUNTIME_OF_THE_TESTS_KEY"


@dataclass
class Ran(Generic[T]):
    """What came of it. `stopped`: it was called off, and let itself be."""

    progress: list[Progress] = field(default_factory=list)
    remembered: list[Mapping[str, Any]] = field(default_factory=list)
    stopped: bool = False
    result: T | None = None


def run(
    steps: Steps[T],
    url: str,
    *,
    type: str = "ollama",
    key: str = "",
    short_s: float = 10.0,
    long_s: float = 60.0,
    timeout_s: float | None = None,
    stop_at: Callable[[Progress], bool] = lambda told: False,
) -> Ran[T]:
    """Do what the driver says; raises what it raises. Once `stop_at` is true of what it tells, it is called off."""
    service = LLMService(
        name="under-test",
        type=type,
        urls=[url],
        allowed_networks=["127.0.0.0/8"],
        short_timeout_s=short_s,
        long_timeout_s=long_s,
        api_key_env_var=KEY_VARIABLE,
    )
    os.environ[KEY_VARIABLE] = key
    try:
        with override_settings(SERVICE_KEY_VARIABLES=[(KEY_VARIABLE, "")]):
            return asyncio.run(_run(steps, service, timeout_s, stop_at))
    finally:
        del os.environ[KEY_VARIABLE]


async def _run(
    steps: Steps[T], service: LLMService, timeout_s: float | None, stop_at: Callable[[Progress], bool]
) -> Ran[T]:
    ran: Ran[T] = Ran()
    stop = asyncio.Event()

    def told(progress: Progress) -> None:
        ran.progress.append(progress)
        if stop_at(progress):
            stop.set()

    try:
        ran.result = await perform(
            steps,
            service=service,
            timeout_s=timeout_s,
            on_progress=told,
            on_remember=ran.remembered.append,
            stop=stop,
        )
    except Stopped:
        ran.stopped = True
    return ran
