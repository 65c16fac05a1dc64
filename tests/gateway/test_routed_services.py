"""Routes to models of services and to a tenant's own: local first, then the cloud, and the other way round."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import snapshot
from gateway.app import Gateway
from runtimes.models import Audience, LLMService, ServiceModel
from tenants.models import OnError
from tenants.services import routes
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office, chat_body, send
from tests.gateway.python_door import HELLO, python_door, records
from tests.gateway.serving import add_model, make_service
from usage.services import limits

PATH, CHAT = "/v1/chat/completions", "/chat/completions"
LOCAL, OWN = "den~fake-chat", "fake-chat@Fake"
TOO_LONG = {"error": {"message": "too long", "code": "context_length_exceeded"}}


@pytest.fixture
def runtime() -> Iterator[FakeUpstream]:
    with FakeUpstream(key=None) as fake:
        yield fake


@pytest.fixture
def mock(settings: Any, tmp_path: Path) -> LLMService:
    settings.DATA_DIR = tmp_path
    made = LLMService.objects.create(name="mock", type="mock", is_enabled=True)
    add_model(made, "mock-model-7B")
    return made


def make_route(office: Office, *targets: TargetPlan, **values: Any) -> None:
    plan = RoutePlan(**{"name": "best", "model_type": "chat", "max_retries": 0, "targets": targets, **values})
    routes.create(tenant=office.tenant, plan=plan, actor=ACTOR)


def local(position: int = 1, *, name: str = LOCAL, **values: Any) -> TargetPlan:
    return TargetPlan(service_model=name, position=position, **values)


def cloud(office: Office, position: int = 2, **values: Any) -> TargetPlan:
    return TargetPlan(office.model().pk, position=position, **values)


def closed_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("stream", [False, True])
def test_while_the_local_model_answers_the_cloud_is_not_called(
    office: Office, upstream: FakeUpstream, runtime: FakeUpstream, stream: bool
) -> None:
    make_service(runtime)
    make_route(office, local(), cloud(office))
    reply = office.chat("best", stream=stream)
    assert (reply.status, reply.headers["x-llmadmin-target"]) == (200, LOCAL)
    model = reply.events[0]["model"] if stream else reply.data["model"]
    assert (model, runtime.calls[CHAT], upstream.calls[CHAT]) == (LOCAL, 1, 0)
    record = office.records()[-1]
    assert (record.model, record.route, record.factory, record.tenant_llm_id) == ("best", "best", "den", None)


@pytest.mark.parametrize("stream", [False, True])
def test_the_cloud_answers_for_a_local_model_that_is_down(office: Office, upstream: FakeUpstream, stream: bool) -> None:
    make_service(urls=[closed_url()])
    make_route(office, local(), cloud(office))
    reply = office.chat("best", stream=stream)
    assert (reply.status, reply.headers["x-llmadmin-target"]) == (200, OWN)
    record = office.records()[-1]
    assert [attempt[:2] for attempt in record.attempts] == [(LOCAL, "unreachable"), (OWN, "ok")]
    assert (record.factory, record.tenant_llm_id) == ("Fake", office.model().pk)


def test_a_local_model_answers_for_a_cloud_that_is_down(
    office: Office, upstream: FakeUpstream, mock: LLMService
) -> None:
    make_route(office, cloud(office, 1), local(2, name="mock~mock-model-7B"))
    upstream.status(CHAT, 500, {})
    for stream in (False, True):
        reply = office.chat("best", stream=stream)
        assert (reply.status, reply.headers["x-llmadmin-target"]) == (200, "mock~mock-model-7B")
    attempts = [attempt[:2] for attempt in office.records()[-1].attempts]
    assert attempts == [(OWN, "server_failed"), ("mock~mock-model-7B", "ok")]


def test_a_service_may_be_kept_for_a_failure(office: Office, upstream: FakeUpstream, runtime: FakeUpstream) -> None:
    make_service(runtime)
    make_route(office, cloud(office, 1), local(2, only_on=(OnError.CONTEXT_LENGTH.value,)))
    assert office.chat("best").headers["x-llmadmin-target"] == OWN
    upstream.status(CHAT, 400, TOO_LONG)
    assert office.chat("best").headers["x-llmadmin-target"] == LOCAL


def test_a_service_that_cannot_stream_leaves_streams_to_the_others(
    office: Office, upstream: FakeUpstream, runtime: FakeUpstream
) -> None:
    make_service(runtime, capabilities={"streaming": False})
    make_route(office, local(), cloud(office))
    assert office.chat("best", stream=True).headers["x-llmadmin-target"] == OWN
    assert office.chat("best").headers["x-llmadmin-target"] == LOCAL


def test_a_gateway_that_runs_sees_that_a_service_is_taken_away_and_given_back(
    office: Office, runtime: FakeUpstream
) -> None:
    service = make_service(runtime)
    make_route(office, local(), cloud(office))

    async def answers(gateway: Gateway, wanted: str) -> None:
        async with asyncio.timeout(20):
            while True:
                reply = await send(gateway, PATH, chat_body("best"), token=office.token)
                assert reply.status == 200, "a call never fails for it"
                if reply.headers["x-llmadmin-target"] == wanted:
                    return
                await asyncio.sleep(0.05)

    async def run(gateway: Gateway) -> None:
        await answers(gateway, LOCAL)
        for audience, wanted in ((Audience.NONE, OWN), (Audience.ALL, LOCAL)):
            service.audience = audience
            await asyncio.to_thread(service.save)
            await answers(gateway, wanted)
        await asyncio.to_thread(lambda: ServiceModel.objects.get(name="fake-chat").delete())
        await answers(gateway, OWN)

    office.use(run)


def test_a_route_whose_only_service_is_taken_away_is_not_found(office: Office, runtime: FakeUpstream) -> None:
    service = make_service(runtime)
    make_route(office, local())
    assert office.chat("best").status == 200
    service.audience = Audience.NONE
    service.save()
    assert office.chat("best").error["code"] == "model_not_found"


def test_failures_count_the_same_by_whichever_name_a_service_was_called(
    office: Office, upstream: FakeUpstream, runtime: FakeUpstream
) -> None:
    make_service(runtime)
    make_route(office, local(), cloud(office))
    runtime.status(CHAT, 500, {})

    async def run(gateway: Gateway) -> None:
        for _ in range(6):
            assert (await send(gateway, PATH, chat_body("best"), token=office.token)).status == 200
        assert runtime.calls[CHAT] == 5
        assert (await send(gateway, PATH, chat_body(LOCAL), token=office.token)).status == 503

    office.use(run)
    assert runtime.calls[CHAT] == 5


def test_the_urls_of_a_service_share_its_weight(office: Office, runtime: FakeUpstream) -> None:
    with FakeUpstream(key=None) as twin:
        make_service(runtime, twin)
        make_route(office, local(weight=3), cloud(office, 1, weight=5), strategy="weighted")
        (group,) = snapshot.load(office.tenant.pk).routes["best"].groups
    shares = sorted((choice.deployment.model_id, choice.weight) for choice in group)
    assert shares == [(LOCAL, 1.5), (LOCAL, 1.5), (OWN, 5)]


def test_a_local_model_has_the_time_of_its_service_unless_the_route_says_less(
    office: Office, runtime: FakeUpstream, settings: Any
) -> None:
    settings.LLM_TIMEOUT_SECONDS = 0.2
    make_service(runtime)
    make_route(office, local())
    make_route(office, local(), name="hurried", timeout_s=1)
    runtime.slow(CHAT, 0.6)
    assert office.chat("best").status == 200
    runtime.hang(CHAT)
    assert office.chat("hurried").error["code"] == "timed_out"


def test_limits_of_the_model_that_answers_hold(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    make_route(office, local(), cloud(office))
    limits.create(tenant=office.tenant, model=LOCAL, requests_per_minute=1, actor=ACTOR)

    async def run(gateway: Gateway) -> list[int]:
        replies = [await send(gateway, PATH, chat_body("best"), token=office.token) for _ in range(2)]
        return [reply.status for reply in replies]

    assert office.use(run) == [200, 429]


def test_a_bundle_goes_the_same_way(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    make_service(urls=[closed_url()])
    make_route(office, local(), cloud(office))
    with python_door(office, settings) as make:
        assert make("chat", "best").chat("Be brief.", HELLO) == ("Hello!", 10)
        (record,) = records(office)
    assert (record.route, record.factory) == ("best", "Fake")
    assert [attempt[:2] for attempt in record.attempts] == [[LOCAL, "unreachable"], [OWN, "ok"]]
