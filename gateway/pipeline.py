"""The engine behind both doors: resolve → admit → attempt → relay → meter → settle.

Each stage is a module of its own; this one puts them in order, and sees to it that every call that was sent ends as
exactly one record in the ledger, before the last byte of its answer leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Generic, TypeVar

from gateway import errors, meter, metrics, targets, tracing
from gateway.admit import Admissions
from gateway.attempt import Send, attempt, deadline
from gateway.breaker import Breaker
from gateway.call import Call, Done
from gateway.errors import GatewayError
from gateway.loading import Loads
from gateway.observe import observe
from gateway.replies import written
from gateway.resolve import completed, resolve, stand_in
from gateway.snapshot import Plan
from gateway.targets import Answer, Open, Opened
from providers.errors import UpstreamError
from providers.upstream import Pool
from runtimes.services import outward
from usage.admission import Counters
from usage.counters.memory import MemoryCounters
from usage.records import CallRecord, Outcome, Usage
from usage.spool import Flusher, Spool, SpoolFull

Out = TypeVar("Out", bytes, list[dict[str, Any]])

CLIENT_GONE = 499  # nginx's word for it


class Engine:
    """One an event loop. It closes what it was given."""

    def __init__(
        self,
        *,
        pool: Pool,
        counters: Counters,
        spool: Spool,
        flusher: Flusher | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.flusher = flusher
        self.pool = pool
        self.loads = Loads(pool)
        self.counters = counters
        self.spool = spool
        self.breaker = Breaker() if breaker is None else breaker  # an empty one is false
        self._settles_at_once = isinstance(counters, MemoryCounters)
        self._settling: set[asyncio.Task[None]] = set()
        self.streaming: set[object] = set()
        self.closed = False
        metrics.watch(self)

    async def close(self) -> None:
        """Wait for what is still being settled, and let go of all connections."""
        self.closed = True
        if self._settling:
            await asyncio.wait(self._settling, timeout=5)
        await self.loads.close()
        await self.counters.close()
        await self.pool.close()
        if self.flusher is not None:
            await asyncio.to_thread(self.flusher.close)
        await tracing.flush()

    async def complete(self, call: Call) -> Done:
        """The whole answer; raises GatewayError."""
        plan, admissions = self._begin(call)
        send: Send[Answer] = partial(targets.complete, call, self.pool)
        if plan.loads:
            send = self.loads.before(send, deadline(call, plan))
        try:
            answer = await attempt(call, plan, self.breaker, admissions.enter, send)
            body, media_type = written(call, answer)
        except UpstreamError as error:
            raise self._failed(call, admissions, error) from None
        except BaseException as error:
            self._ended(call, admissions, error)
            raise
        call.reply = answer.reply
        record = self.settle(call, admissions, Outcome.COMPLETE, meter.of_reply(call, answer.reply))
        return Done(answer.reply, body, media_type, meter.headers(call, record), record)

    async def stream(self, call: Call, open: Open[Out]) -> Streaming[Out]:
        """An answer that has begun; raises GatewayError if none does. To be iterated over, and closed in any case."""
        plan, admissions = self._begin(call)
        send: Send[Opened[Out]] = partial(open, call, self.pool)
        if plan.loads:
            send = self.loads.before(send, deadline(call, plan))
        try:
            opened: Opened[Out] = await attempt(call, plan, self.breaker, admissions.enter, send)
        except UpstreamError as error:
            raise self._failed(call, admissions, error) from None
        except BaseException as error:
            self._ended(call, admissions, error)
            raise
        call.first_token_ms = call.elapsed_ms
        return Streaming(self, call, admissions, tracing.listening(call, opened))

    def settle(
        self,
        call: Call,
        admissions: Admissions,
        outcome: Outcome,
        usage: Usage,
        *,
        status: int = 200,
        error_code: str = "",
    ) -> CallRecord:
        """Write the call's record, and let limits and budgets know; raises GatewayError if it cannot be written."""
        cost = meter.cost(call, usage)
        record = call.record(outcome, status=status, usage=usage, cost=cost, error_code=error_code)
        known = usage.total_tokens if usage.prompt_tokens is not None else None
        self._later(admissions.settle(known, cost))
        try:
            self.spool.append(record)
        except SpoolFull:
            raise errors.ledger_full() from None
        observe(call, record)
        return record

    def _begin(self, call: Call) -> tuple[Plan, Admissions]:
        if not call.model:
            call.model = stand_in(call.tenant, call.caller, call.operation)
            call.payload = completed(call.payload, call.tenant.unsaid)
        plan = resolve(call.tenant, call.caller, call.model, call.operation)
        call.route = plan.route
        if not self.spool.has_room:
            raise errors.ledger_full()
        return plan, Admissions(self.counters, call)

    def _failed(self, call: Call, admissions: Admissions, error: UpstreamError) -> GatewayError:
        """What the caller is told when no target answered. The call is in the ledger by then, if anything was sent."""
        told = _told(call, error)
        told.headers |= meter.headers(call, None)
        if call.attempts:
            usage = meter.of_failure(call, error)
            self.settle(call, admissions, Outcome.ERROR, usage, status=told.status, error_code=error.code)
        else:
            self._later(admissions.settle(0, Decimal(0)))
        return told

    def _ended(self, call: Call, admissions: Admissions, why: BaseException) -> None:
        """The caller left before there was an answer, a limit or budget refused it, or the fault is our own."""
        if isinstance(why, GatewayError):
            why.headers = {**meter.headers(call, None), **why.headers}
        if not call.attempts:
            self._later(admissions.settle(0, Decimal(0)))
        elif isinstance(why, GatewayError):
            code = why.code or "internal_error"
            self.settle(call, admissions, Outcome.ERROR, Usage(), status=why.status, error_code=code)
        else:
            outcome, status, code = ending(why)
            self.settle(call, admissions, outcome, meter.of_input(call), status=status, error_code=code)

    def _later(self, settling: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it, and nobody cancels it with the call."""
        if self._settles_at_once:
            with suppress(StopIteration):
                settling.send(None)
            return
        task = asyncio.ensure_future(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)


def _told(call: Call, error: UpstreamError) -> GatewayError:
    """The failure of the last target that was asked, in words for the caller."""
    asked = call.deployment
    if asked is not None and asked.tenant_llm_id is None:  # a service's
        urls = {target.base_url for target in asked.targets.values()}
        error = outward.for_tenants(error, service=asked.factory, urls=urls)
    return errors.of_upstream(error)


def ending(why: BaseException) -> tuple[Outcome, int, str]:
    """How a call ended that was broken off: its caller left, or the fault is our own."""
    if isinstance(why, Exception):
        return Outcome.ERROR, 500, "internal_error"
    return Outcome.CLIENT_GONE, CLIENT_GONE, "client_gone"


class Streaming(Generic[Out]):
    """The pieces of an answer as they come. The call is in the ledger when the iteration ends, however it ends."""

    def __init__(self, engine: Engine, call: Call, admissions: Admissions, opened: Opened[Out]) -> None:
        self.headers = meter.headers(call, None)
        self.record: CallRecord | None = None
        self._engine, self._call, self._admissions = engine, call, admissions
        self._opened: Opened[Out] = opened
        engine.streaming.add(self)

    async def __aiter__(self) -> AsyncIterator[Out]:
        """Raises GatewayError if the upstream breaks off: what came before it is all there is."""
        opened, relay = self._opened, self._opened.relay
        try:
            if opened.first:
                yield opened.first
            if not relay.ended:
                async for data in opened.rest:
                    if out := relay.feed(data):
                        yield out
                    if relay.ended:
                        break
                if out := relay.close():
                    yield out
            if not relay.finished:
                raise errors.cut()
        except UpstreamError as error:
            error = error.without(opened.secrets)
            self._end(Outcome.UPSTREAM_CUT, status=error.http_status, error_code=error.code)
            self._engine.breaker.failed(self._key, error)
            raise _told(self._call, error) from None
        except BaseException as error:
            outcome, status, code = ending(error)
            self._end(outcome, status=status, error_code=code)
            raise
        self._end(Outcome.COMPLETE, status=200)

    async def close(self) -> None:
        """Let go of the upstream; one that has ended keeps its connection."""
        self._engine.streaming.discard(self)
        try:
            if self.record is None:
                self._end(Outcome.CLIENT_GONE, status=CLIENT_GONE, error_code="client_gone")
            if self._opened.relay.ended:
                await self._opened.drain()
        finally:
            self._opened.close()

    @property
    def media_type(self) -> str:
        return self._opened.media_type

    @property
    def end(self) -> bytes:
        """What tells a caller over HTTP that the answer is whole: to be sent once the call is in the ledger."""
        return self._opened.relay.end

    @property
    def _key(self) -> int | str:
        return self._call.deployment.key if self._call.deployment else 0

    def _end(self, outcome: Outcome, *, status: int, error_code: str = "") -> None:
        if self.record is not None:
            return
        relay = self._opened.relay
        usage = meter.of_stream(self._call, relay)
        self.record = self._engine.settle(
            self._call, self._admissions, outcome, usage, status=status, error_code=error_code
        )
