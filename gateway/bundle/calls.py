"""One model of one tenant, called from Python: the same pipeline as over HTTP, without a token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, TypeVar

import psycopg
import structlog
from django.db import DatabaseError, InterfaceError

from core.errors import InvalidInput, Unavailable
from core.ids import new_id
from gateway.bundle.door import Door, door
from gateway.bundle.errors import NotAuthorized, of_gateway
from gateway.call import Call
from gateway.deployments import Deployment
from gateway.errors import GatewayError
from gateway.pipeline import Streaming
from gateway.resolve import resolve
from gateway.snapshot import Caller, Plan, TenantSnapshot
from gateway.targets import Open, open_events
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for
from tenants.models import SCOPES
from usage.records import CallRecord, Usage

T = TypeVar("T")
Out = TypeVar("Out", bytes, list[dict[str, Any]])
Read = Callable[[Streaming[Out]], AsyncGenerator[T, None]]

MAX_LENGTH = 8192  # tokens that a model reads, where its row says nothing
_AWAY = (DatabaseError, InterfaceError, psycopg.Error)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the answered calls of one method used together. `cost` is in USD; None if that of any is not known."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Decimal | None = Decimal(0)

    @classmethod
    def of(cls, records: Iterable[CallRecord]) -> Spent:
        found = list(records)
        costs = [record.cost for record in found]
        known = [cost for cost in costs if cost is not None]
        return cls(
            len(found),
            summed(record.usage for record in found),
            sum(known, Decimal(0)) if len(known) == len(costs) else None,
        )


def summed(usages: Iterable[Usage]) -> Usage:
    """All together; what none of them knows stays unknown."""
    total = Usage()
    for usage in usages:
        for one in fields(Usage):
            value = getattr(usage, one.name)
            if one.name == "estimated":
                total.estimated = total.estimated or value
            elif value is not None:
                setattr(total, one.name, value + (getattr(total, one.name) or 0))
    return total


def kind_of(llm_type: str) -> LLMType:
    """Raises InvalidInput for a type that there is not."""
    try:
        return LLMType(llm_type)
    except ValueError:
        known = ", ".join(kind.value for kind in LLMType)
        raise InvalidInput(f"There is no type of models “{llm_type}”.", hint=f"Known are {known}.") from None


@dataclass(frozen=True, slots=True)
class Description:
    """What a bundle needs to know of its model; `max_length` in tokens."""

    name: str
    max_length: int
    is_tools: bool


class Model:
    """A tenant's model for one type. Methods are for any running loop; all raise AppError and UpstreamError."""

    def __init__(self, tenant_id: str, llm_type: str, name: str | None) -> None:
        self.llm_type = kind_of(llm_type)
        self.tenant_id = str(tenant_id)
        self.operation = operation_for(self.llm_type)
        self._name = name
        self._caller = Caller("", self.tenant_id, frozenset(SCOPES), None)

    async def describe(self) -> Description:
        """Look the model up; what was added a moment ago is found."""

        async def look(here: Door) -> Description:
            try:
                return await self._described(here)
            except (GatewayError, NotAuthorized):
                await here.store.refresh()
                return await self._described(here)

        return await _told(look)

    async def complete(self, payload: Mapping[str, Any], records: list[CallRecord]) -> Any:
        """The reply; its record is added to `records`."""

        async def work(here: Door) -> Any:
            engine = await here.engine()
            done = await engine.complete(await self._call(here, payload, stream=False))
            records.append(done.record)
            return done.reply

        return await _told(work)

    def stream(
        self, payload: Mapping[str, Any], records: list[CallRecord]
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The chunks of a chat as they come, in OpenAI's shape."""
        return self.follow(payload, records, open_events, _as_they_come)

    async def follow(
        self, payload: Mapping[str, Any], records: list[CallRecord], open: Open[Out], read: Read[Out, T]
    ) -> AsyncGenerator[T, None]:
        """What is read of an answer while it comes; its record is added to `records`. Who ends it ends the call."""

        here = door()

        async def work() -> AsyncGenerator[T, None]:
            engine = await here.engine()
            streaming = await engine.stream(await self._call(here, payload, stream=True), open)
            try:
                async with aclosing(read(streaming)) as items:
                    async for item in items:
                        yield item
            finally:
                await streaming.close()
                if streaming.record is not None:
                    records.append(streaming.record)

        try:
            async with aclosing(here.follow(work)) as items:
                async for item in items:
                    yield item
        except GatewayError as error:
            raise of_gateway(error) from None
        except _AWAY:
            raise _away() from None

    # --- On the door's loop -----------------------------------------------------------------------------------------

    async def _call(self, here: Door, payload: Mapping[str, Any], *, stream: bool) -> Call:
        tenant = await self._tenant(here)
        name = self._named(tenant)
        given = structlog.contextvars.get_contextvars().get("request_id")
        return Call(
            operation=self.operation,
            payload={**payload, "model": name},
            model=name,
            caller=self._caller,
            tenant=tenant,
            request_id=given if isinstance(given, str) and given else new_id(),
            stream=stream,
        )

    async def _tenant(self, here: Door) -> TenantSnapshot:
        tenant = await here.store.tenant(self.tenant_id)
        if not tenant.is_enabled:
            raise NotAuthorized("Tenant not found.", hint="There is none with this id, or it is disabled.")
        return tenant

    def _named(self, tenant: TenantSnapshot) -> str:
        name = self._name or tenant.defaults.get(self.llm_type.value, "")
        if not name:
            raise NotAuthorized(
                f"No model for {self.llm_type.value} is named, and the tenant has no default one.",
                hint="Name one, or choose the tenant's default.",
            )
        return name

    async def _described(self, here: Door) -> Description:
        tenant = await self._tenant(here)
        name = self._named(tenant)
        plan = resolve(tenant, self._caller, name, self.operation)
        self._name = name
        return Description(name, self._max_length(plan), all(one.is_tools for one in _deployments(plan)))

    def _max_length(self, plan: Plan) -> int:
        """What all that may answer can read."""
        found = [one.max_tokens for one in _deployments(plan)]
        if self.operation is Operation.EMBEDDINGS:
            found += [one.targets[self.operation].quirks.embedding_max_tokens or 0 for one in _deployments(plan)]
        return min((length for length in found if length > 0), default=MAX_LENGTH)


async def _told(work: Callable[[Door], Coroutine[Any, Any, T]]) -> T:
    """What the work gives on the door's loop; its failures as callers in Python know them."""
    here = door()
    try:
        return await here.call(lambda: work(here))
    except GatewayError as error:
        raise of_gateway(error) from None
    except _AWAY:
        raise _away() from None


async def _as_they_come(streaming: Streaming[Out]) -> AsyncGenerator[Out, None]:
    async with aclosing(aiter(streaming)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            yield piece


def _deployments(plan: Plan) -> list[Deployment]:
    return [choice.deployment for group in plan.groups for choice in group]


def _away() -> Unavailable:
    return Unavailable("The tenant's models cannot be looked up now.", hint="Try again shortly.")
