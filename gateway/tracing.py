"""Carries traces to the tenants' Langfuse, from a thread of its own: no call waits for it.

What waits is bounded, for each tenant and for all; what finds no room, or is not taken after some tries, is dropped and
counted. A tenant whose Langfuse is away or slow keeps nobody else's traces waiting.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import orjson
import structlog

from core.errors import AppError
from core.origins import origin_of
from gateway import metrics
from gateway.call import Call
from gateway.relay import Relay
from gateway.snapshot import Tracing
from gateway.targets import Opened
from gateway.traces import Ended, ended, events
from providers import upstream
from providers.errors import UpstreamError
from providers.upstream import Pool
from providers.wire import Operation, UpstreamRequest
from tenants.services import langfuse
from usage.records import CallRecord

Out = TypeVar("Out", bytes, list[dict[str, Any]])

logger = structlog.get_logger(__name__)

INTERVAL_S = 1.0
MAX_WAITING, MAX_WAITING_OF_ONE = 10_000, 2_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
BATCH = 50
BATCH_BYTES = 3_000_000  # Langfuse takes 3.5 MB
TRIES = 3
LATER_S = (1.0, 5.0)
MAX_HEARD = 2_000  # pieces of a stream
FLUSH_S = 2.0


def trace(call: Call, record: CallRecord) -> None:
    """Called once a call, when it has ended."""
    if (tracing := call.tenant.tracing) is not None:
        exporter.add(ended(tracing, call, record))


def listening(call: Call, opened: Opened[Out]) -> Opened[Out]:
    """The same stream; where its tenant wants that, what it says is kept in `call.heard`. Sound never is."""
    if call.tenant.tracing is not None and call.tenant.tracing.content and call.operation is not Operation.SPEECH:
        call.heard.append(opened.first)
        opened.relay = Heard(opened.relay, call.heard)
    return opened


class Heard(Generic[Out]):
    """A relay that keeps what it has said, up to a bound."""

    def __init__(self, relay: Relay[Out], heard: list[Any]) -> None:
        self._relay: Relay[Out] = relay
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    def feed(self, data: bytes) -> Out:
        return self._kept(self._relay.feed(data))

    def close(self) -> Out:
        return self._kept(self._relay.close())

    def _kept(self, said: Out) -> Out:
        if said and len(self._heard) < MAX_HEARD:
            self._heard.append(said)
        return said


async def flush() -> None:
    """At the end of an engine: give what waits a moment."""
    if exporter.waiting:
        await asyncio.to_thread(exporter.flush, FLUSH_S)


def _nothing() -> None:
    return None


class Exporter:
    """One a process. It starts with the first trace, and again after a fork."""

    def __init__(self, *, interval_s: float = INTERVAL_S, later_s: tuple[float, ...] = LATER_S) -> None:
        self._interval_s = interval_s
        self._later_s = later_s
        self.forget()

    def forget(self) -> None:
        """In a child after a fork: what waits is its parent's."""
        self._lock = threading.Lock()
        self._waiting: dict[Tracing, deque[Ended]] = {}
        self._busy: set[Tracing] = set()
        self._count = self._bytes = 0
        self._thread: threading.Thread | None = None
        self._wake: Callable[[], object] = _nothing
        self._stop: Callable[[], object] = _nothing
        self._ready = threading.Event()

    def add(self, one: Ended) -> None:
        """Have it sent some time; drops it if too much waits. Any thread may call."""
        with self._lock:
            line = self._waiting.get(one.tracing)
            if (
                self._count >= MAX_WAITING
                or self._bytes + one.size_bytes > MAX_WAITING_BYTES
                or (line is not None and len(line) >= MAX_WAITING_OF_ONE)
            ):
                room = False
            else:
                room = True
                if line is None:
                    line = self._waiting[one.tracing] = deque()
                line.append(one)
                self._count += 1
                self._bytes += one.size_bytes
            if self._thread is None:
                self._ready.clear()
                self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
                self._thread.start()
        if not room:
            metrics.counts.trace("dropped")

    @property
    def waiting(self) -> int:
        """How many traces."""
        return self._count

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more; False if the time was not enough."""
        end = time.monotonic() + timeout_s
        while self._count:
            if time.monotonic() >= end:
                return False
            self._wake()
            time.sleep(0.02)
        return True

    def close(self, timeout_s: float) -> None:
        """End, whatever waits; a further trace begins anew."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ready.wait(timeout_s)
            self._stop()
            thread.join(timeout_s)

    # --- The thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        loop, hurry, own = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()
        assert own is not None  # noqa: S101  (a coroutine that runs is in a task)
        self._wake = partial(loop.call_soon_threadsafe, hurry.set)
        self._stop = partial(loop.call_soon_threadsafe, own.cancel)
        self._ready.set()
        async with Pool() as pool:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(hurry.wait(), self._interval_s)
                hurry.clear()
                with self._lock:
                    for tracing in [one for one in self._waiting if one not in self._busy]:
                        self._busy.add(tracing)
                        task = asyncio.create_task(self._deliver(tracing, pool))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)

    async def _deliver(self, tracing: Tracing, pool: Pool) -> None:
        """Send what waits for one project, until nothing does."""
        while batch := self._take(tracing):
            outcome = "dropped"
            try:
                outcome = await self._send(tracing, batch, pool)
            except Exception:
                logger.exception("traces.failed")
            finally:
                metrics.counts.trace(outcome, len(batch))
                with self._lock:
                    self._count -= len(batch)
                    self._bytes -= sum(one.size_bytes for one in batch)

    def _take(self, tracing: Tracing) -> list[Ended]:
        with self._lock:
            line = self._waiting[tracing]
            batch: list[Ended] = []
            size = 0
            while line and len(batch) < BATCH and (not batch or size + 2 * line[0].size_bytes < BATCH_BYTES):
                batch.append(line.popleft())
                size += 2 * batch[-1].size_bytes  # it stands in the trace and in the generation
            if not batch:
                del self._waiting[tracing]
                self._busy.discard(tracing)
            return batch

    async def _send(self, tracing: Tracing, batch: list[Ended], pool: Pool) -> str:
        """What became of it: sent, refused (by Langfuse) or dropped."""
        why = ""
        for number in range(TRIES):
            try:
                status = await _post(tracing, (event for one in batch for event in events(one)), pool)
            except UpstreamError as error:
                why = error.code
            except AppError as error:  # the key cannot be read, or not for this host
                why = error.code
                break
            else:
                if status < 300:
                    return "sent"
                why = str(status)
                if status < 500 and status != 429:
                    break
            if number < TRIES - 1:
                await asyncio.sleep(self._later_s[min(number, len(self._later_s) - 1)])
        logger.warning("traces.not_taken", tenant=tracing.tenant_id, host=tracing.host, why=why, traces=len(batch))
        return "refused" if why.isdigit() else "dropped"


async def _post(tracing: Tracing, told: Iterable[dict[str, Any]], pool: Pool) -> int:
    """The status of the answer; 207 says of each event whether it was taken."""
    url = f"{tracing.host}/api/public/ingestion"
    keys = tracing.secret.reveal(origin=origin_of(url))
    body = orjson.dumps({"batch": list(told), "metadata": {"sdk_name": "llmadmin"}}, option=orjson.OPT_NON_STR_KEYS)
    headers = {
        "Authorization": langfuse.authorization(keys),
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    answer = await upstream.send(UpstreamRequest("POST", url, headers, body), langfuse.policy(), pool=pool)
    if answer.status == 207 and (failed := _errors(answer.body)):
        logger.warning("traces.partly_refused", tenant=tracing.tenant_id, host=tracing.host, events=failed)
    return answer.status


def _errors(body: bytes) -> int:
    try:
        return len(orjson.loads(body).get("errors") or ())
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return 0


exporter = Exporter()
"""This process's."""

os.register_at_fork(after_in_child=exporter.forget)
