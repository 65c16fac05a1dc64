"""What an answer says beside its body: on success, when we refuse, and when the upstream fails."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.breaker import THRESHOLD
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office, Reply, chat_body, send
from tests.gateway.test_chat import CHAT, PATH
from usage.models import BudgetPeriod
from usage.services import budgets, limits

pytestmark = pytest.mark.once

LIMITED = {f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")}
NAMED = {"x-request-id": "my-own-request"}


@pytest.fixture(autouse=True)
def limited(office: Office, settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 1
    limits.create(tenant=office.tenant, requests_per_minute=20, tokens_per_minute=1_000_000, actor=ACTOR)


def ask(office: Office, **more: Any) -> Reply:
    return office.ask(PATH, chat_body(**more), headers=NAMED)


def told(reply: Reply, *, attempts: int, target: str | None = "fake-chat@Fake") -> None:
    assert reply.headers["x-request-id"] == "my-own-request"
    assert reply.headers["x-llmadmin-attempts"] == str(attempts)
    assert reply.headers.get("x-llmadmin-target") == target


@pytest.mark.parametrize("stream", [False, True])
def test_a_success_says_everything(office: Office, stream: bool) -> None:
    reply = ask(office, stream=stream)
    told(reply, attempts=1)
    assert reply.headers.keys() >= LIMITED
    assert (reply.headers["x-ratelimit-limit-requests"], reply.headers["x-ratelimit-remaining-requests"]) == (
        "20",
        "19",
    )
    assert "retry-after" not in reply.headers
    if stream:
        assert "x-llmadmin-cost-usd" not in reply.headers, "it is known only at the end"
    else:
        assert Decimal(reply.headers["x-llmadmin-cost-usd"]) == Decimal("0.000012")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("why", ["limit", "budget"])
def test_a_refusal_of_ours_says_when_to_come_again(
    office: Office, upstream: FakeUpstream, why: str, stream: bool
) -> None:
    if why == "limit":
        limits.create(tenant=office.tenant, model="fake-chat@Fake", tokens_per_minute=1, actor=ACTOR)
    else:
        budgets.create(tenant=office.tenant, amount=Decimal("0.0000001"), period=BudgetPeriod.DAY, actor=ACTOR)
    reply = ask(office, stream=stream)
    assert reply.status == 429
    assert reply.error["code"] == ("rate_limit_exceeded" if why == "limit" else "insufficient_quota")
    told(reply, attempts=0, target=None)
    if why == "budget":
        assert reply.headers["x-should-retry"] == "false"
    assert upstream.total_calls == 0


def test_the_requests_of_a_minute_run_out_with_a_time_to_wait(office: Office) -> None:
    async def run(gateway: Gateway) -> list[Reply]:
        how: dict[str, Any] = {"token": office.token, "headers": NAMED}
        return [await send(gateway, PATH, chat_body(), **how) for _ in range(21)]

    *answered, refused = office.use(run)
    left = [int(reply.headers["x-ratelimit-remaining-requests"]) for reply in answered]
    assert left == list(range(19, -1, -1))
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    told(refused, attempts=0, target=None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "answered", "tries"), [(500, 502, 2), (429, 429, 2), (400, 400, 1), (401, 401, 1)])
def test_an_upstreams_failure_says_everything_too(
    office: Office, upstream: FakeUpstream, status: int, answered: int, tries: int, stream: bool
) -> None:
    upstream.status(CHAT, status, {"error": {"message": "no"}}, Retry_After="0.01", X_Request_Id="theirs")
    reply = ask(office, stream=stream)
    assert reply.status == answered
    told(reply, attempts=tries)
    assert reply.headers.keys() >= LIMITED
    assert "x-llmadmin-cost-usd" not in reply.headers


def test_a_wait_that_an_upstream_asks_for_is_told(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_TIMEOUT_SECONDS = 5
    upstream.rate_limited(CHAT, retry_after="41")
    reply = ask(office)
    assert (reply.status, reply.headers["retry-after"]) == (429, "41")
    told(reply, attempts=1)


def test_a_model_that_rests_says_for_how_long(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 0
    upstream.status(CHAT, 500, {"error": {"message": "no"}})

    async def run(gateway: Gateway) -> Reply:
        how: dict[str, Any] = {"token": office.token, "headers": NAMED}
        for _ in range(THRESHOLD):
            await send(gateway, PATH, chat_body(), **how)
        return await send(gateway, PATH, chat_body(), **how)

    reply = office.use(run)
    assert reply.status == 503
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert reply.headers["x-request-id"] == "my-own-request"
    assert upstream.calls[CHAT] == THRESHOLD


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [(PATH, b"{", 400), (PATH, {"model": "nothing"}, 404), ("/v1/nothing", {}, 404), ("/v1/models", {}, 405)],
)
def test_even_what_is_refused_at_once_has_its_id(office: Office, path: str, body: Any, status: int) -> None:
    reply = office.ask(path, body, headers=NAMED)
    assert (reply.status, reply.headers["x-request-id"]) == (status, "my-own-request")
    assert reply.headers["content-type"] == "application/json"
