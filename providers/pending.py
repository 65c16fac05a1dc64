"""Work that an upstream takes on in one call and hands over in a later one.

A dialect's `parse` raises Pending with the request that asks for the result; whoever makes the call drives it:

    reply = await until_done(dialect.build(operation, payload, target), target, policy, send)

Where nobody does, it is what it says: the upstream has not finished in time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from providers.errors import TimedOut, UpstreamError
from providers.target import Target
from providers.wire import UpstreamRequest

if TYPE_CHECKING:
    from providers.upstream import Policy

T = TypeVar("T")

INTERVAL_S = 1.0


class Pending(TimedOut):
    """The upstream is still at work: `ask` builds the request that asks for the result, after `after_s`."""

    default_message = "The upstream took the work, but did not finish it in time."
    default_hint = "Try again with less at once, or allow more time."

    def __init__(self, ask: Callable[[Target], UpstreamRequest], *, after_s: float = INTERVAL_S) -> None:
        super().__init__(step="body")
        self.ask = ask
        self.after_s = after_s


async def until_done(
    request: UpstreamRequest,
    target: Target,
    policy: Policy,
    send: Callable[[UpstreamRequest, Policy], Awaitable[T]],
) -> T:
    """What `send` makes of the request, and of those that ask for its result; all within the policy's total time.

    Once the work is taken, a failure that may pass by itself does not lose it.
    """
    deadline = time.monotonic() + policy.total_timeout_s
    taken: Pending | None = None
    last: UpstreamError
    while True:
        try:
            return await send(request, policy)
        except Pending as pending:
            taken, last, wait_s = pending, pending, pending.after_s
        except UpstreamError as error:
            if taken is None or not error.retry:
                raise
            last, wait_s = error, max(taken.after_s, error.retry_after_s or 0.0)
        left_s = deadline - time.monotonic() - wait_s
        if left_s <= 0:
            raise last
        await asyncio.sleep(wait_s)
        request, policy = taken.ask(target), replace(policy, total_timeout_s=round(left_s, 1) + 0.1)
