"""Runs the steps of a driver against a service: over the network, within its limits, until done, called off or failed.

    models = await perform(driver.models(), service=service, base_url=url)
    run(driver.install("llama3.2:3b", remembered={}, options={}), service=service, on_progress=…)

What a step may last is the service's: `short` or `long` timeout for an exchange, the step's own patience for the
silence within an answer that is listened to. `timeout_s` bounds the whole. Once `stop` is set, the time is up or the
task is cancelled, what is listened to is closed (the runtime sees that nobody listens any more), the driver is told
`Stopped`, and may call the runtime off within CALL_OFF_S.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from urllib.parse import urlencode

import orjson
import structlog

from core.errors import AppError
from providers.authorisation import authorised
from providers.errors import AuthenticationFailed, BadRequest, TimedOut, UpstreamError
from providers.target import CredentialFields, Target
from providers.upstream import Exchange, Policy, Pool
from providers.upstream import open as open_exchange
from providers.wire import UpstreamRequest
from runtimes import drivers
from runtimes.drivers.base import Driver
from runtimes.drivers.steps import Answer, Ask, Listen, Next, Pause, Pieces, Progress, Remember, Step, Steps, Stopped
from runtimes.models import LLMService
from runtimes.services import calls

__all__ = ["Stopped", "perform", "run"]

logger = structlog.get_logger(__name__)
T = TypeVar("T")
Told = Callable[[Progress], None]
Kept = Callable[[Mapping[str, Any]], Awaitable[None] | None]

CALL_OFF_S = 5.0
LONGEST_S = 7 * 86_400.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_HEARD_BYTES = 1 << 40  # its pieces are bounded one by one
_VERSION_AT_END = re.compile(r"/v\d+\Z")


async def perform(
    steps: Steps[T],
    *,
    service: LLMService,
    base_url: str = "",
    timeout_s: float | None = None,
    on_progress: Told | None = None,
    on_remember: Kept | None = None,
    stop: asyncio.Event | None = None,
    pool: Pool | None = None,
) -> T:
    """Do what a driver's verb says, and return its result. `base_url`: one of the service's URLs; its first by itself.

    Raises UpstreamError, with no key in it: what the driver raises, or TimedOut once `timeout_s` are over; Stopped once
    `stop` is set. No database is touched, so that it may be awaited anywhere.
    """
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(Pool(limit=8)) if pool is None else pool
        runner = _Runner(service, base_url, kept, on_progress, on_remember)
        stack.callback(runner.close)
        stack.callback(steps.close)
        try:
            return await _bounded(runner, steps, stop, timeout_s)
        except UpstreamError as error:
            raise error.without(runner.secrets) from None


def run(
    steps: Steps[T],
    *,
    service: LLMService,
    base_url: str = "",
    timeout_s: float | None = None,
    on_progress: Told | None = None,
    on_remember: Kept | None = None,
) -> T:
    """`perform` for code that runs in no event loop."""
    return asyncio.run(
        perform(
            steps,
            service=service,
            base_url=base_url,
            timeout_s=timeout_s,
            on_progress=on_progress,
            on_remember=on_remember,
        )
    )


async def _bounded(runner: _Runner, steps: Steps[T], stop: asyncio.Event | None, timeout_s: float | None) -> T:
    """The flow as a task of its own, cancelled when it is to end: whatever it waits for then, it is told at once."""
    work = asyncio.ensure_future(runner.flow(steps))
    halt = None if stop is None else asyncio.ensure_future(stop.wait())
    waiting: set[asyncio.Future[Any]] = {work} if halt is None else {work, halt}
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
    except UpstreamError:
        raise
    except BaseException:  # cancelled, or what was told of it did not want to hear more
        await _call_off(runner, steps, work)
        raise
    finally:
        if halt is not None:
            halt.cancel()
    await _call_off(runner, steps, work)
    if halt is not None and halt.done() and not halt.cancelled():
        raise Stopped
    raise TimedOut(f"It was not done within {timeout_s:g} s.", step="body")


async def _call_off(runner: _Runner, steps: Steps[Any], work: asyncio.Future[Any]) -> None:
    """End the work, and let the driver tell the runtime, unless it has come to its end by itself."""
    if not work.done():
        work.cancel()
        await asyncio.wait([work])
    runner.close()
    if inspect.getgeneratorstate(steps) == inspect.GEN_CLOSED:
        return
    try:
        async with asyncio.timeout(CALL_OFF_S):
            await runner.flow(steps, Stopped())
    except Stopped:
        pass
    except (UpstreamError, TimeoutError) as error:
        logger.warning("service.call_off_failed", service=runner.service.name, error=type(error).__name__)


class _Runner:
    """One flow against one URL."""

    def __init__(
        self, service: LLMService, base_url: str, pool: Pool, on_progress: Told | None, on_remember: Kept | None
    ) -> None:
        self.service, self.pool = service, pool
        self.on_progress, self.on_remember = on_progress, on_remember
        self.driver = _driver(service)
        self.url = _url(service, self.driver, base_url)
        self.policy = calls.policy(service)
        self.heard: _Heard | None = None
        self.secrets: set[str] = set()

    async def flow(self, steps: Steps[T], failure: Exception | None = None) -> T:
        """Take steps until the driver is done; `failure` is what it is told first."""
        value: Any = None
        try:
            while True:
                step = steps.send(value) if failure is None else steps.throw(failure)
                value = failure = None
                try:
                    value = await self._do(step)
                except UpstreamError as error:
                    failure = error
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        """Let go of what is listened to."""
        if self.heard is not None:
            self.heard.close()
            self.heard = None

    async def _do(self, step: Step) -> Any:
        match step:
            case Ask():
                return await self._exchange(step)
            case Next():
                return None if self.heard is None else await self.heard.next()
            case Pause():
                await asyncio.sleep(step.seconds)
            case Progress():
                if self.on_progress is not None:
                    self.on_progress(step)
            case Remember():
                if self.on_remember is not None and inspect.isawaitable(kept := self.on_remember(dict(step.data))):
                    await kept
        return None

    async def _exchange(self, step: Ask) -> Answer:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if isinstance(step, Listen):
            self.close()
        policy = self._policy(step)
        request = await self._signed(self._request(step), step.key, policy)
        exchange = await open_exchange(request, policy, pool=self.pool)
        if isinstance(step, Listen) and 200 <= exchange.status < 300:
            self.heard = _Heard(exchange, step.pieces())
            return Answer(exchange.status, exchange.headers, latency_ms=round((loop.time() - started) * 1000))
        async with exchange:
            body = await exchange.read()
        return Answer(exchange.status, exchange.headers, body, round((loop.time() - started) * 1000))

    def _request(self, step: Ask) -> UpstreamRequest:
        query = f"?{urlencode(step.query)}" if step.query else ""
        headers = {"Accept": "application/json", **step.headers}
        body = None
        if step.json is not None:
            headers.setdefault("Content-Type", "application/json")
            body = orjson.dumps(step.json)
        elif step.method in ("POST", "PUT", "PATCH"):
            body = b""
        return UpstreamRequest(step.method, f"{self.url}{step.path}{query}", headers, body)

    async def _signed(self, request: UpstreamRequest, with_key: bool, policy: Policy) -> UpstreamRequest:
        if not with_key:
            return request
        try:
            secret = calls.key(self.service, self.url)
        except AppError as error:
            raise AuthenticationFailed(error.message, hint=error.hint, step="sign") from None
        credential = CredentialFields(secret=secret)
        target = Target(self.service.name, "", self.url, signer=self.driver.signer, credential=credential)
        signed = await authorised(request, target, policy, self.pool)
        self.secrets |= signed.secrets
        return signed.request

    def _policy(self, step: Ask) -> Policy:
        service, given = self.service, self.policy
        within_s = float(service.short_timeout_s if step.patience == "short" else service.long_timeout_s)
        listens = isinstance(step, Listen)
        return Policy(
            allowed_networks=given.allowed_networks,
            connect_timeout_s=min(given.connect_timeout_s, float(service.short_timeout_s)),
            total_timeout_s=LONGEST_S if listens else within_s,
            max_body_bytes=MAX_HEARD_BYTES if listens else MAX_ANSWER_BYTES,
            verify_tls=given.verify_tls,
            first_byte_timeout_s=within_s if listens else None,
            idle_timeout_s=step.idle_timeout_s if isinstance(step, Listen) else None,
            in_process=given.in_process,
        )


class _Heard:
    """What is listened to: objects, one by one."""

    def __init__(self, exchange: Exchange, pieces: Pieces) -> None:
        self._exchange, self._pieces = exchange, pieces
        self._chunks: AsyncIterator[bytes] | None = exchange.chunks()
        self._objects: deque[Any] = deque()
        self._failure: UpstreamError | None = None

    async def next(self) -> Any:
        """The next object, None at the end; raises UpstreamError, after all objects that came before."""
        while not self._objects:
            if self._failure is not None:
                raise self._failure
            if self._chunks is None:
                return None
            try:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    self._chunks = None
                for one in self._pieces.close() if chunk is None else self._pieces.feed(chunk):
                    self._objects.append(one)
            except UpstreamError as error:
                self._failure = error
        return self._objects.popleft()

    def close(self) -> None:
        self._exchange.close()


def _driver(service: LLMService) -> Driver:
    try:
        return drivers.get(service.type)
    except AppError as error:
        raise BadRequest(error.message, hint=error.hint, step="build") from None


def _url(service: LLMService, driver: Driver, base_url: str) -> str:
    """The root of the server: what people paste with the version of an API at its end, without it."""
    given = base_url or next(iter(calls.urls(service, driver)), "")
    if not given:
        raise BadRequest("The service has no URL.", hint="Enter the base URL at which it is reached.", step="build")
    return _VERSION_AT_END.sub("", given.rstrip("/"))
