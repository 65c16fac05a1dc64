"""Loads a model on its first use, where its runtime does not do so by itself: once, for all who wait for it.

A caller who leaves does not stop it: the next one will want the model, too. How it went is kept for a moment, until
every picture of the tenants' models shows it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from django.db import connections

from gateway.attempt import Send, within
from gateway.deployments import Deployment, Load
from providers.errors import GenericUpstreamError, ModelNotFound, TimedOut, Unreachable, UpstreamError
from providers.upstream import Policy, Pool
from runtimes import drivers
from runtimes.drivers.base import Driver
from runtimes.drivers.steps import Steps
from runtimes.models import ModelState, ServiceModel
from runtimes.services import calls, driving, states

logger = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

KEPT_S = 5.0


class Loads:
    """Those of one event loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def before(self, send: Send[T], deadline: float) -> Send[T]:
        """The same, once the deployment's model is loaded; neither goes beyond the deadline."""

        async def ready(deployment: Deployment, policy: Policy) -> T:
            if deployment.load is not None:
                await self.ready(deployment.load, within_s=deadline - time.monotonic())
                policy = within(deadline, policy)
            return await send(deployment, policy)

        return ready

    async def ready(self, load: Load, *, within_s: float | None = None) -> None:
        """Come back when the model can be called; raises UpstreamError if it cannot be loaded, or not in this time."""
        task = self._tasks.get(load.model_id)
        if task is None:
            task = asyncio.create_task(self._load(load), name=f"load {load.name}")
            self._tasks[load.model_id] = task
            task.add_done_callback(partial(self._done, load.model_id))
        try:
            await asyncio.wait_for(asyncio.shield(task), within_s)
        except UpstreamError as error:
            raise _as_failure(error) from None
        except TimeoutError:
            raise TimedOut(f"{load.name} is still being loaded.", step="headers") from None

    async def close(self) -> None:
        """Wait for nothing any more."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, model_id: int, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, even if everybody has left
        task.get_loop().call_later(KEPT_S, self._forget, model_id, task)

    def _forget(self, model_id: int, task: asyncio.Task[None]) -> None:
        if self._tasks.get(model_id) is task:
            del self._tasks[model_id]

    async def _load(self, load: Load) -> None:
        model = await _in_thread(_fetched, load.model_id)
        if model is None:
            raise ModelNotFound(f"The service has no model {load.name} any more.", step="build")
        log = logger.bind(model=load.name)
        await _in_thread(states.note, model_id=model.pk, state=ModelState.LOADING)
        log.info("gateway.loading")
        try:
            await self._everywhere(model)
        except BaseException as error:
            log.warning("gateway.not_loaded", error=getattr(error, "code", type(error).__name__))
            if isinstance(error, Exception):
                await _in_thread(states.note, model_id=model.pk, state=ModelState.NOT_LOADED)
            raise
        await _in_thread(states.note, model_id=model.pk, state=ModelState.LOADED)
        log.info("gateway.loaded")

    async def _everywhere(self, model: ServiceModel) -> None:
        """At each of the service's URLs; one that has it is enough."""
        service, driver = model.service, drivers.get(model.service.type)
        loads = [
            driving.perform(
                _loaded(driver, model),
                service=service,
                base_url=url,
                timeout_s=float(service.long_timeout_s),
                pool=self._pool,
            )
            for url in calls.urls(service, driver)
        ]
        ended = await asyncio.gather(*loads, return_exceptions=True)
        failures = [one for one in ended if isinstance(one, BaseException)]
        if len(failures) == len(ended):
            raise failures[0] if failures else Unreachable("The service has no URL.", step="build")


def _loaded(driver: Driver, model: ServiceModel) -> Steps[None]:
    """Load it where it is not: somebody else may have been quicker, and each URL knows it in its own way."""
    found = yield from driver.model(model.name)
    if found is None:
        raise ModelNotFound(f"The service has no model {model.full_name} any more.", step="status")
    if found.state != ModelState.LOADED:
        yield from driver.load(model.name, detail=found.detail, options=model.service.options)


def _as_failure(error: UpstreamError) -> UpstreamError:
    """What the call ends with. To load a model again at once helps only where nothing was reached."""
    kind = type(error) if isinstance(error, TimedOut | Unreachable | ModelNotFound) else GenericUpstreamError
    return kind(
        f"The model was not loaded and could not be loaded. {error.message}",
        hint=error.hint,
        step=error.step,
        upstream_status=error.upstream_status,
        upstream_code=error.upstream_code,
        detail=error.detail,
        retry_after_s=error.retry_after_s,
    )


def _fetched(model_id: int) -> ServiceModel | None:
    present = ServiceModel.objects.present().filter(service__is_enabled=True)
    return present.select_related("service").filter(pk=model_id).first()


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    def call() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)
