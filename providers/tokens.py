"""Tokens that another call gave, kept in this process until shortly before they expire.

Whoever asks while a token is on its way waits for the same call. What a token was made from is known by a digest only.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from providers import upstream
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    PermissionDenied,
    TimedOut,
    Unreachable,
    UpstreamError,
    WrongURL,
)
from providers.signers.exchange import Exchange, Token, TokenRequest
from providers.upstream import Policy, Pool
from providers.wire import UpstreamResponse

T = TypeVar("T")

MAX_TOKENS = 4096
MAX_ANSWER_BYTES = 256 * 1024
MAX_CALL_S = 20.0
LEAD_S = 300.0  # a token is replaced so long before it expires, or in the last fifth of a shorter life
PAUSE_S = 30.0  # between attempts to replace a token that still holds


@dataclass(slots=True)
class _Held:
    token: Token
    renew_at: datetime


class Tokens:
    """A bounded cache of tokens; may be used from several threads and event loops at once."""

    def __init__(self, *, limit: int = MAX_TOKENS) -> None:
        self._limit = limit
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Token]]]
        self._flights = WeakKeyDictionary()
        self._lock = threading.Lock()

    async def get(self, exchange: Exchange, policy: Policy, pool: Pool | None = None) -> tuple[Token, bool]:
        """The token, and whether it was fetched for this call; raises UpstreamError (step “sign”) without secrets."""
        held = self._find(exchange.identity)
        if held is not None and datetime.now(UTC) < held.renew_at:
            return held.token, False
        try:
            async with asyncio.timeout(policy.total_timeout_s):
                return await asyncio.shield(self._flight(exchange, policy, pool)), True
        except TimeoutError:
            failure: UpstreamError = TimedOut("The token for this call did not come in time.", step="sign")
        except UpstreamError as error:
            failure = error
        now = datetime.now(UTC)
        refused = isinstance(failure, AuthenticationFailed | PermissionDenied)
        if held is not None and now < held.token.expires_at and not refused:
            held.renew_at = now + timedelta(seconds=PAUSE_S)
            return held.token, False
        raise failure

    def drop(self, exchange: Exchange, token: Token) -> None:
        """Forget a token that was refused, unless another one has taken its place."""
        with self._lock:
            held = self._held.get(exchange.identity)
            if held is not None and held.token is token:
                del self._held[exchange.identity]

    def __len__(self) -> int:
        return len(self._held)

    def _find(self, identity: str) -> _Held | None:
        with self._lock:
            held = self._held.get(identity)
            if held is not None:
                self._held.move_to_end(identity)
            return held

    def _flight(self, exchange: Exchange, policy: Policy, pool: Pool | None) -> asyncio.Task[Token]:
        """The call that is under way on this event loop: a task of its own, so that no caller's end is everyone's."""
        loop = asyncio.get_running_loop()
        with self._lock:
            flights = self._flights.setdefault(loop, {})
        task = flights.get(exchange.identity)
        if task is None:
            task = flights[exchange.identity] = loop.create_task(self._fetch(exchange, policy, pool))
            task.add_done_callback(lambda done: _landed(flights, exchange.identity, done))
        return task

    async def _fetch(self, exchange: Exchange, policy: Policy, pool: Pool | None) -> Token:
        limits = replace(
            policy, total_timeout_s=min(policy.total_timeout_s, MAX_CALL_S), max_body_bytes=MAX_ANSWER_BYTES
        )
        if exchange.precondition is not None:
            await _asked(exchange.precondition.build(), exchange.precondition.check, limits, pool)
        token = await _asked(exchange.build(), exchange.parse, limits, pool)
        self._keep(exchange.identity, token)
        return token

    def _keep(self, identity: str, token: Token) -> None:
        now = datetime.now(UTC)
        life = token.expires_at - now
        held = _Held(token, token.expires_at - min(timedelta(seconds=LEAD_S), life / 5))
        with self._lock:
            for old in [name for name, other in self._held.items() if other.token.expires_at <= now]:
                del self._held[old]
            self._held[identity] = held
            while len(self._held) > self._limit:
                self._held.popitem(last=False)


async def _asked(asked: TokenRequest, read: Callable[[UpstreamResponse], T], limits: Policy, pool: Pool | None) -> T:
    try:
        return read(await upstream.send(asked.request, limits, pool=pool))
    except UpstreamError as error:
        raise _described(error, urlsplit(asked.request.url).hostname or "", asked.secrets) from None


def _landed(flights: dict[str, asyncio.Task[Token]], identity: str, task: asyncio.Task[Token]) -> None:
    flights.pop(identity, None)
    if not task.cancelled():
        task.exception()  # somebody may have stopped waiting for it


def _described(error: UpstreamError, host: str, secrets: frozenset[str]) -> UpstreamError:
    """The error as one of the token's call, without what its request held."""
    if isinstance(error, Unreachable | AddressBlocked | WrongURL | TimedOut):
        error.hint = "Staff: check the factory's quirk token_url, and that this server may reach that address."
    error.message = f"No token from {host}: {error.message}"
    error.step = "sign"
    return error.without(secrets)
