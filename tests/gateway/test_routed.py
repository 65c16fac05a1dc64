"""What routes and restricted tokens mean for a call, against upstreams on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.audit import Actor
from gateway.app import Gateway
from tenants.models import OnError, TenantLLM
from tenants.services import routes, tenant_llms, tokens
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office, Reply, send

CHAT = "/chat/completions"
TOO_LONG = {"error": {"message": "too long", "code": "context_length_exceeded"}}
FILTERED = {"error": {"message": "no", "code": "content_filter"}}


@pytest.fixture
def other() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture
def second(office: Office, other: FakeUpstream) -> TenantLLM:
    return office.serve(other, label="second").tenant_llms.get()


def make_route(office: Office, *targets: TargetPlan, name: str = "best", **values: Any) -> None:
    plan = RoutePlan(name=name, model_type="chat", targets=targets, **values)
    routes.create(tenant=office.tenant, plan=plan, actor=ACTOR)


@pytest.mark.parametrize(
    ("kept_for", "answer", "status", "asked"),
    [
        (OnError.CONTEXT_LENGTH, (400, TOO_LONG), 200, 1),
        (OnError.CONTENT_FILTER, (400, FILTERED), 200, 1),
        (OnError.QUOTA, (400, TOO_LONG), 400, 0),
        (OnError.CONTEXT_LENGTH, (400, FILTERED), 400, 0),
        (OnError.CONTEXT_LENGTH, (400, {"error": {"message": "no such role"}}), 400, 0),
        (OnError.CONTEXT_LENGTH, (401, {"error": {"message": "wrong key"}}), 401, 0),
    ],
)
def test_a_target_that_is_kept_for_a_failure_is_tried_after_that_one_alone(
    office: Office,
    upstream: FakeUpstream,
    other: FakeUpstream,
    second: TenantLLM,
    kept_for: OnError,
    answer: tuple[int, Any],
    status: int,
    asked: int,
) -> None:
    make_route(office, TargetPlan(office.model().pk), TargetPlan(second.pk, 2, only_on=(kept_for.value,)))
    upstream.status(CHAT, *answer)
    assert office.chat("best").status == status
    assert (upstream.calls[CHAT], other.calls[CHAT]) == (1, asked)


def test_a_target_that_is_kept_for_failures_gets_no_first_call(
    office: Office, upstream: FakeUpstream, other: FakeUpstream, second: TenantLLM
) -> None:
    kept = TargetPlan(second.pk, position=1, weight=1000, only_on=(OnError.CONTEXT_LENGTH.value,))
    make_route(office, TargetPlan(office.model().pk, position=2), kept)

    async def run(gateway: Gateway) -> None:
        for _ in range(10):
            body = {"model": "best", "messages": [{"role": "user", "content": "Hello"}]}
            assert (await send(gateway, "/v1/chat/completions", body, token=office.token)).status == 200

    office.use(run)
    assert (upstream.calls[CHAT], other.calls[CHAT]) == (10, 0)


def test_what_is_filtered_is_not_shown_to_targets_that_are_not_meant_for_it(
    office: Office, upstream: FakeUpstream, other: FakeUpstream, second: TenantLLM
) -> None:
    with FakeUpstream() as last:
        third = office.serve(last, label="third").tenant_llms.get()
        kept = TargetPlan(third.pk, 3, only_on=(OnError.CONTENT_FILTER.value,))
        make_route(office, TargetPlan(office.model().pk), TargetPlan(second.pk, 2), kept)
        upstream.status(CHAT, 400, FILTERED)
        assert office.chat("best").status == 200
        assert (other.calls[CHAT], last.calls[CHAT]) == (0, 1)


def test_a_routes_own_limits_hold(office: Office, upstream: FakeUpstream) -> None:
    make_route(office, TargetPlan(office.model().pk), max_retries=0)
    make_route(office, TargetPlan(office.model().pk), name="hurried", timeout_s=1)
    upstream.status(CHAT, 500, {})
    assert office.chat("best").status == 502
    assert upstream.calls[CHAT] == 1
    upstream.hang(CHAT)
    began = time.monotonic()
    assert office.chat("hurried").error["code"] == "timed_out"
    assert time.monotonic() - began < 30


# --- Tokens ---------------------------------------------------------------------------------------------------------


def restricted(office: Office, *models: str) -> str:
    maker = office.tenant.memberships.get().user
    actor = Actor(user_id=maker.pk, label=maker.username)
    return tokens.create(tenant=office.tenant, name="App", scopes=["invoke"], models=models, actor=actor)[1]


def chat_as(office: Office, token: str, model: str) -> Reply:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return office.use(lambda gateway: send(gateway, "/v1/chat/completions", body, token=token))


def test_a_token_calls_and_sees_what_it_is_for(office: Office, upstream: FakeUpstream) -> None:
    make_route(office, TargetPlan(office.model().pk))
    token = restricted(office, "best", "fake-emb*@Fake")
    listed = office.use(lambda gateway: send(gateway, "/v1/models", token=token, method="GET")).data["data"]
    assert [model["id"] for model in listed] == ["best", "fake-embedding@Fake"]
    assert chat_as(office, token, "best").status == 200
    for model in ("fake-chat", "fake-chat@Fake", "Fake/fake-chat"):
        refused = chat_as(office, token, model)
        assert (refused.status, refused.error["code"]) == (404, "model_not_found")
    assert upstream.calls[CHAT] == 1


def test_a_token_is_not_told_of_models_that_it_may_not_call(office: Office) -> None:
    tenant_llms.add(credential=office.credential, llm_name="secret-plan___V", model_types=["chat"], actor=ACTOR)
    token = restricted(office, "best")
    for model in ("SECRET-PLAN", "secret-plan@fake", "Secret-Plan"):
        answer = chat_as(office, token, model)
        assert answer.status == 404
        assert "___V" not in answer.error["message"]
        assert "___V" in office.chat(model).error["message"]
