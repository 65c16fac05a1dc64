"""What jobs do to models of services: install, import, update, load, unload, delete, list; and a look at a service.

Who may ask for what is in `operation_requests`. A service of several URLs is done one URL after the other; what was
done is not done again by the next attempt. What a runtime wants to be remembered is in the job's checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from django.contrib.auth import get_user_model

from core.errors import AppError, Unavailable
from core.places import without_places
from jobs.services.context import JobContext
from providers.errors import ModelNotFound, TimedOut, UpstreamError
from runtimes.drivers.base import Driver
from runtimes.drivers.steps import Progress, Steps
from runtimes.models import LLMService, ServiceModel
from runtimes.services import calls, health, listing, outward, states
from runtimes.services.driving import perform
from runtimes.services.operation_requests import (
    DELETE,
    IMPORT,
    INSTALL,
    LOAD,
    UNLOAD,
    UPDATE,
    Verb,
    able,
    ready,
    visible,
)
from runtimes.services.services import named

logger = structlog.get_logger(__name__)


@dataclass
class _Work:
    """One attempt: what is done already, and what the runtime wanted to be remembered, by URL."""

    ctx: JobContext
    verb: Verb
    service: LLMService
    driver: Driver
    name: str
    urls: tuple[str, ...]
    done: list[str] = field(default_factory=list)
    remembered: dict[str, Any] = field(default_factory=dict)
    idle: int = 0
    missing: int = 0

    async def all(self) -> None:
        for url in self.urls:
            if url in self.done:
                continue
            await self.at(url)
            self.done.append(url)
            await self._save()
        if self.missing == len(self.urls) and not (self.verb is DELETE and self.ctx.attempt > 1):
            raise ModelNotFound(step="status")

    async def at(self, url: str) -> None:
        detail: Mapping[str, Any] = {}
        if self.verb.known:
            found = await self._perform(self.driver.model(self.name), url)
            if found is None:
                self.missing += 1
                return
            if self.verb.idle is not None and found.state == self.verb.idle:
                self.idle += 1
                return
            detail = found.detail
        await self._perform(self._steps(url, detail), url, on_remember=lambda data: self._remember(url, data))

    def _steps(self, url: str, detail: Mapping[str, Any]) -> Steps[None]:
        given = self.ctx.params
        fetching: dict[str, Any] = {
            "remembered": self.remembered.get(url, {}),
            "options": {**self.service.options, **(given.get("options") or {})},
        }
        doing: dict[str, Callable[[], Steps[None]]] = {
            "install": lambda: self.driver.install(self.name, **fetching),
            "import": lambda: self.driver.import_(self.name, str(given.get("path") or ""), **fetching),
            "update": lambda: self.driver.update(self.name, **fetching),
            "load": lambda: self.driver.load(self.name, detail=detail, options=fetching["options"]),
            "unload": lambda: self.driver.unload(self.name, detail=detail),
            "delete": lambda: self.driver.delete(self.name, detail=detail),
        }
        return doing[self.verb.name]()

    async def _perform(self, steps: Any, url: str, **told: Any) -> Any:
        return await perform(steps, service=self.service, base_url=url, on_progress=self._progress, **told)

    def _progress(self, step: Progress) -> None:
        part = step.fraction
        if part is None and step.total_bytes and step.done_bytes is not None:
            part = step.done_bytes / step.total_bytes
        message = without_places(step.message, urls=self.urls) if self.ctx.tenant_id else step.message
        percent = None if part is None else 100 * (len(self.done) + min(max(part, 0.0), 1.0)) / len(self.urls)
        self.ctx.progress(percent, message, done_bytes=step.done_bytes, total_bytes=step.total_bytes, step=message)

    async def _remember(self, url: str, data: Mapping[str, Any]) -> None:
        self.remembered[url] = dict(data)
        await self._save()

    async def _save(self) -> None:
        await self.ctx.asave_checkpoint({"done": self.done, "remembered": self.remembered})


def _run(ctx: JobContext, *, verb: Verb) -> dict[str, Any]:
    """Do the verb at all URLs of the service, and list its models."""
    service = _service(ctx)
    ready(service)
    driver = able(service, verb)
    name = str(ctx.params["model_name"])
    kept = ctx.checkpoint
    work = _Work(ctx, verb, service, driver, name, calls.urls(service, driver))
    work.done = [url for url in kept.get("done", []) if url in work.urls]
    work.remembered = dict(kept.get("remembered", {}))
    row = ServiceModel.objects.present().filter(service=service, name=name).first()
    if row is not None and verb.passing is not None:
        states.note(model_id=row.pk, state=verb.passing)
    try:
        ctx.run(work.all())
    except UpstreamError as error:
        raise _as_ours(ctx, service, error) from None
    finally:
        listing.soon(service_id=service.pk)
    _list(ctx, service)
    return {"service": service.name, "model": name, "urls": len(work.urls), "already": work.idle == len(work.urls)}


def _service(ctx: JobContext) -> LLMService:
    """The service; raises NotFound if whose job it is may not see it any more, or it is another one of that name."""
    name, asked_by = str(ctx.params["service_name"]), ctx.actor.user_id
    is_staff = asked_by is None or get_user_model().objects.filter(pk=asked_by, is_staff=True).exists()
    if is_staff or not ctx.tenant_id:
        return named(name)
    return visible(name, tenant_id=ctx.tenant_id, is_staff=False)


def _list(ctx: JobContext, service: LLMService) -> None:
    """The work is done: that its outcome is not listed yet is no failure, and the next look lists it."""
    ctx.progress(message="listing the models")
    try:
        listed = ctx.run(listing.ask(service))
    except UpstreamError as error:
        logger.info("service.not_listed", service=service.name, error=error.code)
        return
    listing.store(service_id=service.pk, listed=listed, actor=ctx.actor)


def _as_ours(ctx: JobContext, service: LLMService, error: UpstreamError) -> AppError:
    """What may pass by itself is tried again; the rest is told as it is, to tenants without the service's places."""
    if ctx.tenant_id:
        error = outward.for_tenants(error, service=service.name, urls=service.urls)
    passing = error.retry or isinstance(error, TimedOut) or error.step == "body"
    kind = Unavailable if passing else AppError
    return kind(error.message, hint=error.hint, code=error.code)


def refresh(ctx: JobContext) -> dict[str, Any]:
    """List the models of a service."""
    service = _service(ctx)
    try:
        listed = ctx.run(listing.ask(service))
    except UpstreamError as error:
        raise _as_ours(ctx, service, error) from None
    found = listing.store(service_id=service.pk, listed=listed, actor=ctx.actor)
    return {
        "service": service.name,
        "models": len(listed.models),
        "added": len(found.added),
        "changed": len(found.changed),
        "removed": len(found.removed),
    }


def check(ctx: JobContext) -> dict[str, Any]:
    """Look at a service now, whether it is enabled or not."""
    service = health.look(named(str(ctx.params["service_name"])))
    return {
        "service": service.name,
        "health": service.health,
        "latency_ms": service.latency_ms,
        "version": service.version,
        "error": service.error or None,
    }


install = partial(_run, verb=INSTALL)
import_ = partial(_run, verb=IMPORT)
update = partial(_run, verb=UPDATE)
load = partial(_run, verb=LOAD)
unload = partial(_run, verb=UNLOAD)
delete = partial(_run, verb=DELETE)
