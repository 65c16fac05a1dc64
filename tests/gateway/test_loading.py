"""A model that is installed and not loaded is loaded by its first call: once for all, and told of if it fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.deployments import Load
from gateway.loading import Loads
from providers import inprocess
from providers.errors import ModelNotFound
from providers.inprocess import InProcessAnswer
from providers.upstream import Pool
from providers.wire import UpstreamRequest
from runtimes import mock
from runtimes.models import LLMService, ModelState, ServiceModel
from tenants.models import ApiToken
from tenants.services import routes
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.gateway.calling import ACTOR, Office, Reply, chat_body, send
from tests.gateway.serving import add_model
from usage.services import budgets

PATH = "/v1/chat/completions"
SLEEPING = "mock-model-30B"
NAME = f"mock~{SLEEPING}"


class Watched:
    """The mock runtime, with what it was asked for counted; it can be told to hold its answers to one path back."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.held: dict[str, float] = {}

    async def handle(self, request: UpstreamRequest) -> InProcessAnswer:
        path = request.url.partition("mock")[2]
        self.calls[path] += 1
        await asyncio.sleep(self.held.get(path, 0))
        return await mock.handle(request)


@pytest.fixture
def runtime(settings: Any, tmp_path: Path) -> Iterator[Watched]:
    settings.DATA_DIR = tmp_path
    watched = Watched()
    inprocess.register(mock.HOST, watched.handle)
    yield watched
    inprocess.register(mock.HOST, mock.handle)


@pytest.fixture
def service(office: Office, runtime: Watched) -> LLMService:
    made = LLMService.objects.create(
        name="mock", type="mock", is_enabled=True, options={"load_steps": 3, "load_step_delay_s": 0.1}
    )
    add_model(made, "mock-model-7B")
    add_model(made, SLEEPING, state=ModelState.NOT_LOADED)
    return made


def state(name: str = SLEEPING) -> str:
    return ServiceModel.objects.get(name=name).state


def test_a_loaded_model_is_called_at_once(office: Office, service: LLMService, runtime: Watched) -> None:
    reply = office.chat("mock~mock-model-7B")
    assert (reply.status, reply.data["model"]) == (200, "mock~mock-model-7B")
    assert list(runtime.calls) == ["/v1/chat/completions"]
    assert office.chat("").data["model"] == "mock~mock-model-7B"


def test_twenty_who_come_at_once_have_it_loaded_once(office: Office, service: LLMService, runtime: Watched) -> None:
    async def run(gateway: Gateway) -> list[Reply]:
        bodies = [chat_body(NAME, stream=bool(number % 2)) for number in range(20)]
        return await asyncio.gather(*(send(gateway, PATH, body, token=office.token) for body in bodies))

    replies = office.use(run)
    assert {reply.status for reply in replies} == {200}
    assert {reply.data["model"] for reply in replies[::2]} == {NAME}
    assert all(reply.events[-1] == "[DONE]" for reply in replies[1::2])
    assert runtime.calls["/api/load"] == 1
    assert runtime.calls["/v1/chat/completions"] == 20
    assert state() == ModelState.LOADED
    assert office.chat(NAME).status == 200  # by another process, which knows by now
    assert runtime.calls["/api/load"] == 1


def test_its_state_is_told_while_it_is_loaded(office: Office, service: LLMService, runtime: Watched) -> None:
    runtime.held["/api/load"] = 1.0

    async def run(gateway: Gateway) -> None:
        calling = asyncio.create_task(send(gateway, PATH, chat_body(NAME), token=office.token))
        async with asyncio.timeout(20):
            while await asyncio.to_thread(state) != ModelState.LOADING:
                await asyncio.sleep(0.02)
        reply = await send(gateway, PATH, chat_body("mock~mock-model-7B"), token=office.token)
        assert (reply.status, calling.done()) == (200, False)  # others do not wait for it
        assert (await calling).status == 200

    office.use(run)


def test_comments_keep_a_stream_open_meanwhile(
    office: Office, service: LLMService, runtime: Watched, settings: Any
) -> None:
    settings.GATEWAY_KEEPALIVE_S = 0.05
    reply = office.chat(NAME, stream=True)
    assert reply.body.startswith(b": keep-alive\n\n")
    assert reply.events[-1] == "[DONE]"


def test_a_load_that_fails_is_told_and_not_tried_again_by_each_who_waits(
    office: Office, service: LLMService, runtime: Watched
) -> None:
    name = "mock~unloadable-3b"
    add_model(service, "unloadable-3b", state=ModelState.NOT_LOADED)
    with_model = json.dumps({"model": "unloadable-3b", "steps": 1, "step_delay_s": 0}).encode()

    async def install() -> None:
        answer = await mock.handle(UpstreamRequest("POST", "inproc://mock/api/install", {}, with_model))
        async for _ in answer.body:  # type: ignore[union-attr]
            pass

    asyncio.run(install())

    async def run(gateway: Gateway) -> list[Reply]:
        return await asyncio.gather(*(send(gateway, PATH, chat_body(name), token=office.token) for _ in range(5)))

    for reply in office.use(run):
        assert (reply.status, reply.error["code"]) == (502, "upstream_error")
        assert "could not be loaded" in reply.error["message"]
    assert runtime.calls["/api/load"] == 1
    assert runtime.calls["/v1/chat/completions"] == 0
    assert state("unloadable-3b") == ModelState.NOT_LOADED
    assert {record.error_code for record in office.records()} == {"upstream_error"}


def test_a_load_that_hangs_ends_with_the_services_long_timeout(
    office: Office, service: LLMService, runtime: Watched
) -> None:
    LLMService.objects.update(long_timeout_s=1)
    runtime.held["/api/load"] = 60.0
    began = time.monotonic()
    reply = office.chat(NAME)
    assert (reply.status, reply.error["code"]) == (504, "timed_out")
    assert time.monotonic() - began < 30


def test_a_caller_who_leaves_does_not_stop_it(office: Office, service: LLMService, runtime: Watched) -> None:
    runtime.held["/api/load"] = 1.5

    async def run(gateway: Gateway) -> None:
        leave = asyncio.Event()
        calling = asyncio.create_task(send(gateway, PATH, chat_body(NAME), token=office.token, leave=leave))
        async with asyncio.timeout(20):
            while not runtime.calls["/api/load"]:
                await asyncio.sleep(0.02)
            leave.set()
            await calling
            assert await asyncio.to_thread(state) == ModelState.LOADING
            while await asyncio.to_thread(state) != ModelState.LOADED:
                await asyncio.sleep(0.02)

    office.use(run)
    assert runtime.calls["/v1/chat/completions"] == 0


def test_nobody_has_a_model_loaded_who_may_not_call_it(office: Office, service: LLMService, runtime: Watched) -> None:
    budgets.create(tenant=office.tenant, amount="1", actor=ACTOR)
    assert office.chat(NAME).error["code"] == "insufficient_quota"  # nobody said what it costs
    ApiToken.objects.update(allowed_models=["fake-chat@Fake"])
    assert office.chat(NAME).status == 404
    service.audience = "none"
    service.save()
    assert office.chat(NAME).status == 404
    assert runtime.calls["/api/load"] == 0


def test_a_model_of_a_service_that_was_disabled_meanwhile_is_not_loaded(service: LLMService, runtime: Watched) -> None:
    LLMService.objects.update(is_enabled=False)
    load = Load(ServiceModel.objects.get(name=SLEEPING).pk, NAME)

    async def work() -> None:
        async with Pool() as pool:
            loads = Loads(pool)
            with pytest.raises(ModelNotFound):
                await loads.ready(load)
            await loads.close()

    asyncio.run(work())
    assert (state(), runtime.calls.total()) == (ModelState.NOT_LOADED, 0)


def make_route(office: Office, **values: Any) -> None:
    own = TargetPlan(office.model().pk, position=2)
    plan = RoutePlan("best", "chat", [TargetPlan(service_model=NAME), own], max_retries=0, **values)
    routes.create(tenant=office.tenant, plan=plan, actor=ACTOR)


def test_a_route_has_its_model_loaded_too(office: Office, service: LLMService, runtime: Watched) -> None:
    make_route(office)
    assert office.chat("best").headers["x-llmadmin-target"] == NAME
    assert (runtime.calls["/api/load"], state()) == (1, ModelState.LOADED)


def test_what_cannot_be_loaded_is_answered_for_by_the_routes_next_target(office: Office, service: LLMService) -> None:
    make_route(office)
    ServiceModel.objects.filter(name=SLEEPING).update(name="gone-3b")
    reply = office.chat("best")
    assert (reply.status, reply.headers["x-llmadmin-target"]) == (200, "fake-chat@Fake")
    assert office.records()[-1].attempts[0][:2] == ("mock~gone-3b", "model_not_found")


def test_nobody_waits_for_a_load_longer_than_the_route_says(
    office: Office, service: LLMService, runtime: Watched
) -> None:
    make_route(office, timeout_s=1)
    runtime.held["/api/load"] = 60.0
    began = time.monotonic()
    reply = office.chat("best")
    assert (reply.status, reply.error["code"]) == (504, "timed_out")
    assert "still being loaded" in reply.error["message"]
    assert time.monotonic() - began < 20
