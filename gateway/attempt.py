"""Tries the targets of a plan until one answers: retries, fallback and patience, within one deadline.

A pass over the plan tries each target once. What may pass by itself is tried again in the next pass, after a back-off
that grows and honours `Retry-After`; what will not is dropped. Where the request itself is at fault, nobody else is
asked.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from django.conf import settings

from gateway.breaker import Breaker
from gateway.call import Attempt, Call
from gateway.deployments import Deployment
from gateway.resolve import in_turn
from gateway.snapshot import Choice, Plan
from providers.errors import Overloaded, TimedOut, UpstreamError
from providers.upstream import Policy

T = TypeVar("T")

MAX_DELAY_S = 60.0
Send = Callable[[Deployment, Policy], Awaitable[T]]
Admit = Callable[[Deployment], Awaitable[None]]


async def attempt(call: Call, plan: Plan, breaker: Breaker, admit: Admit, send: Send[T]) -> T:
    """What `send` returned for the first target that answered; raises the last UpstreamError if none did."""
    max_retries = settings.LLM_MAX_RETRIES if plan.max_retries is None else plan.max_retries
    ends = deadline(call, plan)
    left = in_turn(plan)
    last: UpstreamError | None = None
    for retry in range(max_retries + 1):
        shut: list[float] = []
        tried = False
        for choice in list(left):
            if not _is_due(choice, last):
                continue
            if wait_s := breaker.wait_s(choice.deployment.key):
                shut.append(wait_s)
                continue
            tried = True
            try:
                return await _once(call, choice, ends, breaker, admit, send)
            except UpstreamError as error:
                last = error
            if time.monotonic() >= ends:
                raise last
            if not last.retry:
                left.remove(choice)
        if not tried or (last is not None and not last.fallback):
            raise last or resting(min(shut, default=1.0))
        if last is None or not left or retry == max_retries:
            break
        delay_s = _delay_s(retry, last)
        if time.monotonic() + delay_s >= ends:
            break
        await asyncio.sleep(delay_s)
    raise last or resting(1.0)


def _is_due(choice: Choice, last: UpstreamError | None) -> bool:
    """Whether a choice may be tried after the last failure: one that is kept for some failures only after these, any
    other after all but those that another target would fail with, too."""
    if choice.only_on:
        return last is not None and last.code in choice.only_on
    return last is None or last.fallback


def resting(wait_s: float) -> UpstreamError:
    """Every target has failed so often that none is called now."""
    return Overloaded(
        "The model's upstream has failed repeatedly and is not being called now.",
        hint="It is tried again shortly. The attempts before this one are in the usage records.",
        step="breaker",
        retry_after_s=max(1.0, wait_s),
    )


async def _once(call: Call, choice: Choice, ends: float, breaker: Breaker, admit: Admit, send: Send[T]) -> T:
    deployment = choice.deployment
    key = deployment.key
    await admit(deployment)
    call.deployment = deployment
    began = time.monotonic()
    policy = within(ends, deployment.stream_policy if call.stream else deployment.policy)
    breaker.enter(key)
    code = "cancelled"
    try:
        result = await send(deployment, policy)
    except UpstreamError as error:
        code = error.code
        breaker.failed(key, error)
        raise
    except BaseException:
        breaker.left(key)
        raise
    else:
        code = "ok"
        breaker.succeeded(key)
        return result
    finally:
        call.attempts.append(Attempt(deployment.model_id, code, round((time.monotonic() - began) * 1000)))


def deadline(call: Call, plan: Plan) -> float:
    """When a call is over, whatever has come of it until then; of the monotonic clock."""
    return call.began + (settings.LLM_TIMEOUT_SECONDS if plan.timeout_s is None else plan.timeout_s)


def within(ends: float, policy: Policy) -> Policy:
    """The same for a call that must have ended by then; raises TimedOut where it is over."""
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise TimedOut(step="headers")
    return replace(policy, total_timeout_s=left_s) if left_s < policy.total_timeout_s - 1 else policy


def _delay_s(retry: int, error: UpstreamError) -> float:
    delay_s = min(MAX_DELAY_S, settings.LLM_BASE_DELAY * 2.0**retry) * random.uniform(0.5, 1.0)  # noqa: S311
    return max(delay_s, error.retry_after_s or 0.0)
