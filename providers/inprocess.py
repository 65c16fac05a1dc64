"""Upstreams that live in this very process, behind URLs `inproc://HOST`: no socket, and otherwise all rules of a call.

A handler is registered under its host and gets the request as it would have been sent. What it answers is read through
an exchange that honours the policy's limits as `providers.upstream` does. A policy has to allow it (`in_process`);
base URLs that people give are never of this scheme (`base_urls.clean_base_url`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from providers import network_errors
from providers.errors import AddressBlocked, BadReply, Unreachable, UpstreamError
from providers.wire import UpstreamRequest

if TYPE_CHECKING:
    from providers.upstream import Exchange, Policy

SCHEME = "inproc"


@dataclass(frozen=True, slots=True)
class InProcessAnswer:
    """What a handler answers. A body that is an iterator is closed when nobody reads it any more.

    An OSError out of the handler stands for a connection that breaks, there or within the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


Handler = Callable[[UpstreamRequest], Awaitable[InProcessAnswer]]
_handlers: dict[str, Handler] = {}
_closing: set[asyncio.Task[None]] = set()


def register(host: str, handler: Handler) -> None:
    """Let `inproc://HOST` be answered by this handler, and no more by another."""
    _handlers[host] = handler


def is_in_process(url: str) -> bool:
    return url[: len(SCHEME) + 3].lower() == f"{SCHEME}://"


async def open(request: UpstreamRequest, policy: Policy) -> Exchange:
    """As `providers.upstream.open`, for a URL of this scheme."""
    if not policy.in_process:
        raise AddressBlocked(step="connect")
    handler = _handlers.get(urlsplit(request.url).hostname or "")
    if handler is None:
        raise Unreachable("Nothing answers to this name in this process.", step="connect")
    ends_at = asyncio.get_running_loop().time() + policy.total_timeout_s
    limit_s = min(policy.total_timeout_s, policy.first_byte_timeout_s or policy.total_timeout_s)
    try:
        async with asyncio.timeout(limit_s) as bound:
            answer = await handler(request)
    except TimeoutError as error:
        if bound.expired():
            raise network_errors.timed_out("headers", limit_s) from None
        raise network_errors.of(error, "headers", connect_timeout_s=policy.connect_timeout_s) from None
    except OSError as error:
        raise network_errors.of(error, "headers", connect_timeout_s=policy.connect_timeout_s) from None
    return cast("Exchange", InProcessExchange(answer, policy, ends_at))  # has all that one of a socket has


class InProcessExchange:
    """An answer whose body is still to be read, once: the interface of `providers.upstream.Exchange`."""

    __slots__ = ("_body", "_closed", "_ended", "_ends_at", "_policy", "_reading", "headers", "status")

    def __init__(self, answer: InProcessAnswer, policy: Policy, ends_at: float) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.headers.items()}
        self._body = _whole(answer.body) if isinstance(answer.body, bytes) else answer.body
        self._policy, self._ends_at = policy, ends_at
        self._reading: asyncio.Future[bytes | None] | None = None
        self._closed = self._ended = False

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        limit, total = self._policy.max_body_bytes, 0
        while (chunk := await self._next()) is not None:
            total += len(chunk)
            if total > limit:
                raise BadReply(f"The answer is larger than {limit} bytes.", step="body")
            if chunk:
                yield chunk

    async def _next(self) -> bytes | None:
        """What comes next; None at the end."""
        if self._closed or self._ended:
            return None
        loop, idle_s = asyncio.get_running_loop(), self._policy.idle_timeout_s
        stalls_at = self._ends_at if idle_s is None else loop.time() + idle_s
        self._reading = reading = asyncio.ensure_future(anext(self._body, None))
        try:
            async with asyncio.timeout_at(min(self._ends_at, stalls_at)) as bound:
                chunk = await reading
                self._ended = chunk is None
                return chunk
        except TimeoutError as error:
            if not bound.expired():
                raise self._broken(error) from None
            if idle_s is not None and stalls_at < self._ends_at:
                raise network_errors.stalled(idle_s) from None
            raise network_errors.timed_out("body", self._policy.total_timeout_s) from None
        except OSError as error:
            raise self._broken(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise self._broken(ConnectionAbortedError()) from None
            raise
        finally:
            self._reading = None

    def _broken(self, error: OSError) -> UpstreamError:
        return network_errors.of(error, "body", connect_timeout_s=self._policy.connect_timeout_s)

    async def drain(self, within_s: float = 1.0) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._next() is not None:
                    pass

    def close(self) -> None:
        """Let go of it: the handler's iterator is closed as soon as the loop comes to it."""
        if self._closed:
            return
        self._closed = True
        if self._ended:
            return
        if self._reading is not None:
            self._reading.cancel()
        task = asyncio.get_running_loop().create_task(self._end())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    async def _end(self) -> None:
        if self._reading is not None:
            await asyncio.wait([self._reading])
        aclose = getattr(self._body, "aclose", None)
        if aclose is not None:
            with suppress(OSError):
                await aclose()

    async def __aenter__(self) -> InProcessExchange:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._closed:
            self._closed = True
            await self._end()


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
