"""Limits and budgets at the gateway's door."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from gateway.app import Gateway
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office, Reply, chat_body, send
from usage.models import BudgetPeriod
from usage.services import budgets, limits

PATH = "/v1/chat/completions"
CHAT = "/chat/completions"


def together(office: Office, count: int, **more: Any) -> list[Reply]:
    async def run(gateway: Gateway) -> list[Reply]:
        asked = [send(gateway, PATH, chat_body(**more), token=office.token) for _ in range(count)]
        return list(await asyncio.gather(*asked))

    return office.use(run)


def statuses(replies: list[Reply]) -> dict[int, int]:
    found = [reply.status for reply in replies]
    return {status: found.count(status) for status in set(found)}


def test_a_limit_of_requests_refuses_what_is_over_it_and_says_when(office: Office, upstream: FakeUpstream) -> None:
    limits.create(tenant=office.tenant, requests_per_minute=3, actor=ACTOR)
    replies = together(office, 5)
    assert statuses(replies) == {200: 3, 429: 2}
    assert upstream.calls[CHAT] == 3
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.error["code"] == "rate_limit_exceeded"
    assert int(refused.headers["retry-after"]) >= 1
    answered = next(reply for reply in replies if reply.status == 200)
    assert answered.headers["x-ratelimit-limit-requests"] == "3"
    assert "x-ratelimit-remaining-requests" in answered.headers
    assert len(office.records()) == 3


def test_a_limit_of_parallel_calls_frees_its_slots(office: Office, upstream: FakeUpstream) -> None:
    limits.create(tenant=office.tenant, parallel=2, actor=ACTOR)
    upstream.slow(CHAT, 0.3)

    async def run(gateway: Gateway) -> list[int]:
        first = await asyncio.gather(*(send(gateway, PATH, chat_body(), token=office.token) for _ in range(4)))
        again = await send(gateway, PATH, chat_body(), token=office.token)
        return [*sorted(reply.status for reply in first), again.status]

    assert office.use(run) == [200, 200, 429, 429, 200]


def test_slots_are_free_again_after_streams_failures_and_callers_that_left(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.LLM_MAX_RETRIES = 0
    limits.create(tenant=office.tenant, parallel=1, actor=ACTOR)

    async def run(gateway: Gateway) -> None:
        for _ in range(3):
            assert (await send(gateway, PATH, chat_body(stream=True), token=office.token)).status == 200
            upstream.status(CHAT, 400, {"error": {"message": "no"}})
            assert (await send(gateway, PATH, chat_body(), token=office.token)).status == 400
            upstream.hang(CHAT)
            leave = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, leave.set)
            await send(gateway, PATH, chat_body(), token=office.token, leave=leave)
            upstream.well(CHAT)

    office.use(run)
    assert len(office.records()) == 9


def test_callers_who_race_for_the_last_cent_overspend_nothing(office: Office, upstream: FakeUpstream) -> None:
    """A call of these may cost 1,000 tokens at 2 USD a million and its prompt; the budget holds five of them."""
    budgets.create(tenant=office.tenant, amount=Decimal("0.0102"), period=BudgetPeriod.DAY, actor=ACTOR)
    usage = {"prompt_tokens": 20, "completion_tokens": 1000, "total_tokens": 1020}
    message = {"role": "assistant", "content": "x"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    upstream.status(CHAT, 200, answer)
    replies = together(office, 64, max_tokens=1000)
    assert statuses(replies) == {200: 5, 429: 59}
    assert {reply.error["code"] for reply in replies if reply.status == 429} == {"insufficient_quota"}
    spent = sum(record.cost or Decimal(0) for record in office.records())
    assert spent <= Decimal("0.0102")
    assert upstream.calls[CHAT] == 5


def test_what_a_call_did_not_use_of_its_reservation_is_free_again(office: Office) -> None:
    budgets.create(tenant=office.tenant, amount=Decimal("0.0103"), period=BudgetPeriod.DAY, actor=ACTOR)

    async def run(gateway: Gateway) -> list[int]:
        return [(await send(gateway, PATH, chat_body(max_tokens=5000), token=office.token)).status for _ in range(10)]

    assert office.use(run) == [200] * 10
