"""Retries, fallback and the breaker, against upstreams on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.breaker import THRESHOLD
from tenants.services import routes
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import ACTOR, Office, Reply, chat_body, send
from usage.records import Outcome

PATH = "/v1/chat/completions"
CHAT = "/chat/completions"


@pytest.fixture
def other() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


def failing(times: int, status: int = 500, **headers: str) -> Any:
    left = [times]

    def behave(handler: Handler) -> None:
        if left[0]:
            left[0] -= 1
            handler.json({"error": {"message": "no"}}, status=status, headers=headers)
        else:
            handler.answer()

    return behave


def attempts(office: Office) -> list[str]:
    (record,) = office.records()
    return [code for _, code, _ in record.attempts]


def test_what_may_pass_is_tried_again(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, failing(2))
    reply = office.chat()
    assert reply.status == 200
    assert reply.headers["x-llmadmin-attempts"] == "3"
    assert attempts(office) == ["server_failed", "server_failed", "ok"]


def test_a_stream_is_tried_again_until_it_has_begun(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, failing(1, 503))
    reply = office.chat(stream=True)
    assert reply.status == 200
    assert reply.events[-1] == "[DONE]"
    assert attempts(office) == ["overloaded", "ok"]


def test_trying_again_ends(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 2
    upstream.status(CHAT, 500, {"error": {"message": "broken inside"}})
    reply = office.chat()
    assert (reply.status, reply.error["code"], reply.error["type"]) == (502, "server_failed", "server_error")
    assert upstream.calls[CHAT] == 3
    (record,) = office.records()
    assert (record.outcome, record.status, record.error_code) == (Outcome.ERROR, 502, "server_failed")
    assert record.cost is None


@pytest.mark.parametrize(
    ("status", "code"), [(400, "bad_request"), (401, "authentication_failed"), (404, "model_not_found")]
)
def test_what_will_not_pass_is_tried_once(office: Office, upstream: FakeUpstream, status: int, code: str) -> None:
    error = {"message": "no", "code": "model_not_found" if status == 404 else None}
    upstream.status(CHAT, status, {"error": error})
    assert office.chat().error["code"] == code
    assert upstream.calls[CHAT] == 1


def test_retry_after_is_honoured(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, failing(1, 429, **{"Retry-After": "1"}))
    began = time.monotonic()
    assert office.chat().status == 200
    assert time.monotonic() - began >= 1


def test_a_wait_beyond_the_deadline_is_told_instead_of_waited(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.LLM_TIMEOUT_SECONDS = 20.0
    upstream.rate_limited(CHAT, retry_after="30")
    reply = office.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, "30")
    assert upstream.calls[CHAT] == 1


def test_the_deadline_holds_for_all_attempts_together(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_TIMEOUT_SECONDS = 0.5
    upstream.hang(CHAT)
    reply = office.chat()
    assert (reply.status, reply.error["code"]) == (504, "timed_out")
    assert upstream.calls[CHAT] == 1


def test_another_credential_of_the_same_model_answers_at_once(
    office: Office, upstream: FakeUpstream, other: FakeUpstream, settings: Any
) -> None:
    settings.LLM_BASE_DELAY = 30.0
    office.serve(other, label="second")
    upstream.status(CHAT, 500, {})

    async def run(gateway: Gateway) -> list[Reply]:
        return [await send(gateway, PATH, chat_body(), token=office.token) for _ in range(10)]

    assert {reply.status for reply in office.use(run)} == {200}
    assert other.calls[CHAT] == 10


def test_calls_are_balanced_over_credentials(office: Office, upstream: FakeUpstream, other: FakeUpstream) -> None:
    office.serve(other, label="second")

    async def run(gateway: Gateway) -> None:
        for _ in range(60):
            assert (await send(gateway, PATH, chat_body(), token=office.token)).status == 200

    office.use(run)
    assert upstream.calls[CHAT] + other.calls[CHAT] == 60
    assert min(upstream.calls[CHAT], other.calls[CHAT]) >= 5  # 60 throws of a coin: less is one in 10^11


def make_route(office: Office, *groups: tuple[Any, ...], **values: Any) -> None:
    targets = tuple(
        TargetPlan(tenant_llm_id=row.pk, position=position) for position, group in enumerate(groups, 1) for row in group
    )
    plan = RoutePlan(name="best", model_type="chat", targets=targets, **values)
    routes.create(tenant=office.tenant, plan=plan, actor=ACTOR)


def test_a_route_falls_back_in_its_order(office: Office, upstream: FakeUpstream, other: FakeUpstream) -> None:
    second = office.serve(other, label="second").tenant_llms.get()
    make_route(office, (office.model(),), (second,))
    assert office.chat("best").status == 200
    assert (upstream.calls[CHAT], other.calls[CHAT]) == (1, 0)
    upstream.status(CHAT, 401, {"error": {"message": "wrong key"}})
    reply = office.chat("best")
    assert reply.status == 200
    assert other.calls[CHAT] == 1
    record = office.records()[-1]
    assert (record.route, record.model, record.tenant_llm_id) == ("best", "best", second.pk)
    assert [code for _, code, _ in record.attempts] == ["authentication_failed", "ok"]


def test_the_request_being_at_fault_nobody_else_is_asked(
    office: Office, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    make_route(office, (office.model(),), (office.serve(other, label="second").tenant_llms.get(),))
    upstream.status(CHAT, 400, {"error": {"message": "no such role"}})
    assert office.chat("best").status == 400
    assert other.calls[CHAT] == 0


def test_a_target_that_keeps_failing_is_left_alone_and_tried_again_later(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.LLM_MAX_RETRIES = 0
    upstream.status(CHAT, 500, {})

    async def run(gateway: Gateway) -> None:
        for _ in range(THRESHOLD):
            assert (await send(gateway, PATH, chat_body(), token=office.token)).status == 502
        reply = await send(gateway, PATH, chat_body(), token=office.token)
        assert (reply.status, reply.error["code"]) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        assert upstream.calls[CHAT] == THRESHOLD

    office.use(run)
    assert len(office.records()) == THRESHOLD
