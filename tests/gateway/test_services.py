"""Models of services, called as `service~model`: names, answers, balance, limits, prices, and who may."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from core.audit import Actor
from core.origins import origin_of
from core.secrets import seal
from gateway import services, snapshot
from gateway.app import Gateway
from runtimes.models import Audience, LLMService, ModelState, ServiceModel, ServiceTenant
from runtimes.services import changes
from runtimes.services import services as registry
from tenants.models import ApiToken, RoutingChange
from tenants.models.routing import EVERYBODY
from tests.fakes.upstream import KEY, FakeUpstream
from tests.gateway.calling import Office, Reply, chat_body, send
from tests.gateway.serving import add_model, keep_to, make_service
from tests.people import make_tenant, make_token, make_user
from usage.services import budgets, limits

PATH, CHAT, EMBEDDINGS = "/v1/chat/completions", "/chat/completions", "/embeddings"
NAME = "den~fake-chat"
ACTOR = Actor(label="test")


@pytest.fixture
def runtime() -> Iterator[FakeUpstream]:
    with FakeUpstream(key=None) as fake:
        yield fake


@pytest.fixture
def twin() -> Iterator[FakeUpstream]:
    with FakeUpstream(key=None) as fake:
        yield fake


# --- Calls ----------------------------------------------------------------------------------------------------------


def test_a_chat_is_answered_under_the_name_by_which_it_was_asked_for(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    reply = office.chat(NAME)
    assert reply.status == 200
    assert reply.data["model"] == NAME
    assert reply.data["choices"][0]["message"]["content"] == "Hello!"
    assert reply.headers["x-llmadmin-target"] == NAME
    assert runtime.requests[-1].json["model"] == "fake-chat"
    record = office.records()[-1]
    assert (record.factory, record.llm_name, record.model, record.tenant_llm_id) == ("den", "fake-chat", NAME, None)
    assert (record.usage.input_tokens, record.usage.output_tokens, record.cost) == (8, 2, None)


def test_every_piece_of_a_stream_has_that_name(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    reply = office.chat(NAME, stream=True, stream_options={"include_usage": True})
    assert reply.events[-1] == "[DONE]"
    chunks = reply.events[:-1]
    assert {chunk["model"] for chunk in chunks} == {NAME}
    said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert said == "Hello!"
    assert chunks[-1]["usage"]["total_tokens"] == 10
    assert office.records()[-1].usage.output_tokens == 2


def test_texts_are_embedded(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    reply = office.ask("/v1/embeddings", {"model": "den~fake-embedding", "input": ["one", "two"]})
    assert (reply.status, reply.data["model"]) == (200, "den~fake-embedding")
    assert [len(one["embedding"]) for one in reply.data["data"]] == [4, 4]
    assert office.ask("/v1/embeddings", {"model": NAME, "input": "one"}).error["code"] == "wrong_model_type"


def test_a_tag_that_goes_without_saying_need_not_be_said(office: Office, runtime: FakeUpstream) -> None:
    runtime.models.append("minilm:latest")
    add_model(make_service(runtime), "minilm:latest", model_types=["embedding"])
    reply = office.ask("/v1/embeddings", {"model": "den~minilm", "input": "one"})
    assert (reply.status, reply.data["model"]) == (200, "den~minilm:latest")


def test_a_bare_name_means_the_tenants_own_model_first(office: Office, runtime: FakeUpstream) -> None:
    add_model(make_service(runtime), "only-here")
    runtime.models.append("only-here")
    assert office.chat("only-here").data["model"] == "den~only-here"
    assert office.chat("fake-chat").headers["x-llmadmin-target"] == "fake-chat@Fake"
    make_service(runtime, name="attic")
    add_model(LLMService.objects.get(name="attic"), "only-here")
    reply = office.chat("only-here")
    assert reply.status == 404
    assert "attic~only-here, den~only-here" in reply.error["message"]


def test_a_model_that_is_not_there_is_named_with_those_that_are(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    reply = office.chat("den~Fake-Chat")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert NAME in reply.error["message"]


def test_a_mistyped_name_is_answered_with_what_the_token_may_call_of_those_like_it(
    office: Office, runtime: FakeUpstream
) -> None:
    service = make_service(runtime)
    for number in range(5):
        add_model(service, f"phi-4-mini:{number}b")
    ApiToken.objects.update(allowed_models=["den~*:1b", "den~*:3b"])
    reply = office.chat("den~phi-4-mni:2b")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    named = re.findall(r"den~phi-4-mini:\db", reply.error["message"])
    assert sorted(named) == ["den~phi-4-mini:1b", "den~phi-4-mini:3b"]
    listed = office.ask("/v1/models/den~phi-4-mni:2b", None, method="GET")
    assert listed.status == 404
    assert re.findall(r"den~phi-4-mini:\db", listed.error["message"]) == named
    ApiToken.objects.update(allowed_models=[])
    assert len(re.findall(r"den~phi-4-mini:\db", office.chat("den~phi-4-mni:2b").error["message"])) == 3


@pytest.mark.parametrize("stored", [True, False])
def test_the_services_key_goes_along(
    office: Office, stored: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVICE_KEY_VARIABLES = [("DEN_API_KEY", "")]
    with FakeUpstream() as upstream:  # which asks for one
        service = make_service(upstream)
        assert office.chat(NAME).status == 401
        if stored:
            service.secret = seal(KEY, owner=service.owner, origin=origin_of(upstream.root))
        else:
            monkeypatch.setenv("DEN_API_KEY", KEY)
            service.api_key_env_var = "DEN_API_KEY"
        service.save()
        assert office.chat(NAME).status == 200


def test_a_variable_that_may_not_be_sent_there_is_not_sent(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream(key="the-secret-key") as upstream:
        monkeypatch.setenv("SECRET_KEY", "the-secret-key")
        make_service(upstream, api_key_env_var="SECRET_KEY")
        assert office.chat(NAME).status == 404
        assert upstream.requests == []


def test_what_a_frontend_lists_is_what_the_gateway_calls(office: Office, runtime: FakeUpstream, client: Client) -> None:
    """RAGFlow's clients put `llm_name@fid` together, keep it, and show what they kept."""
    make_service(runtime)
    as_owner = {"headers": {"Authorization": f"Bearer {office.token}"}}
    found = client.get("/v1/llm/list?model_type=chat", **as_owner).json()["data"]
    names = [f"{item['llm_name']}@{item['fid']}" for items in found.values() for item in items]
    assert names == ["fake-chat@Fake", "fake-chat@den"]
    assert [office.chat(name).headers["x-llmadmin-target"] for name in names] == ["fake-chat@Fake", NAME]
    info = client.get("/v1/user/tenant_info", **as_owner).json()["data"]
    chosen = {name: info[name] for name in ("tenant_id", "asr_id", "embd_id", "img2txt_id")} | {"llm_id": names[1]}
    for _ in range(2):  # what was answered may be sent back
        body = {"content_type": "application/json", **as_owner}
        assert client.post("/v1/user/set_tenant_info", chosen, **body).json()["data"] is True
        assert client.get("/v1/user/tenant_info", **as_owner).json()["data"]["llm_id"] == names[1]
    office.tenant.refresh_from_db()
    assert office.tenant.llm_id == NAME


# --- Names that are left out ----------------------------------------------------------------------------------------


def test_a_chat_without_a_model_goes_to_what_is_loaded(
    office: Office, runtime: FakeUpstream, twin: FakeUpstream
) -> None:
    runtime.models += ["b", "a", "sleeping"]
    service = make_service(runtime, name="zoo", is_default=True)
    ServiceModel.objects.filter(service=service, name="fake-chat").delete()
    add_model(service, "a-sleeping-one", state=ModelState.NOT_LOADED)
    for name in ("b", "a"):
        add_model(service, name)
    make_service(twin, name="ant")
    for body in ({"messages": chat_body()["messages"]}, chat_body(""), chat_body(None)):  # type: ignore[arg-type]
        reply = office.ask(PATH, body)
        assert (reply.status, reply.data["model"]) == (200, "zoo~a")
    assert office.records()[-1].model == "zoo~a"
    service.is_default = False
    service.save()
    assert office.chat("").data["model"] == "ant~fake-chat"
    assert office.ask("/v1/embeddings", {"input": "one"}).status == 400


def test_a_chat_that_says_nothing_gets_what_the_operator_says(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    registry.set_call_defaults(temperature=0.7, max_tokens=64, actor=ACTOR)
    for said, sent in (
        ({}, (0.7, 64, None)),
        ({"temperature": 0, "max_tokens": None}, (0, 64, None)),
        ({"max_completion_tokens": 5}, (0.7, None, 5)),
    ):
        assert office.chat("", **said).status == 200
        body = runtime.requests[-1].json
        assert (body["temperature"], body.get("max_tokens"), body.get("max_completion_tokens")) == sent
    assert office.chat(NAME).status == 200
    assert "temperature" not in runtime.requests[-1].json


def test_without_anything_loaded_a_model_has_to_be_named(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    ServiceModel.objects.update(state=ModelState.NOT_LOADED)
    reply = office.chat("")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
    assert "/v1/models" in reply.error["message"]
    assert runtime.total_calls == 0


def test_a_token_gets_no_stand_in_that_it_may_not_use(office: Office, runtime: FakeUpstream) -> None:
    add_model(make_service(runtime), "zzz")
    runtime.models.append("zzz")
    ApiToken.objects.update(allowed_models=["den~z*"])
    assert office.chat("").data["model"] == "den~zzz"
    assert office.chat(NAME).status == 404
    ApiToken.objects.update(allowed_models=["fake-chat@Fake"])
    assert office.chat("").status == 404


# --- Who may --------------------------------------------------------------------------------------------------------


def listed(office: Office, token: str) -> list[str]:
    async def ask(gateway: Gateway) -> Reply:
        return await send(gateway, "/v1/models", method="GET", token=token)

    return [one["id"] for one in office.use(ask).data["data"] if "~" in one["id"]]


def test_a_service_is_there_for_those_it_is_meant_for(office: Office, runtime: FakeUpstream) -> None:
    service = make_service(runtime)
    stranger = make_user()
    foreign = make_token(make_tenant(owner=stranger), user=stranger)
    everything = ["den~fake-chat", "den~fake-embedding", "den~fake-rerank"]
    assert listed(office, office.token) == listed(office, foreign) == everything
    keep_to(service, office)
    assert listed(office, office.token) == everything
    assert listed(office, foreign) == []
    service.audience = Audience.NONE
    service.save()
    assert listed(office, office.token) == []
    service.audience, service.is_enabled = Audience.ALL, False
    service.save()
    assert listed(office, office.token) == []
    assert office.chat(NAME).status == 404


def test_a_change_is_seen_by_a_gateway_that_runs(office: Office, runtime: FakeUpstream) -> None:
    service = make_service(runtime)
    row = service.models.get(name="fake-chat")

    async def status_is(gateway: Gateway, wanted: int) -> None:
        async with asyncio.timeout(20):
            while (await send(gateway, PATH, chat_body(NAME), token=office.token)).status != wanted:
                await asyncio.sleep(0.05)

    async def run(gateway: Gateway) -> None:
        await status_is(gateway, 200)
        row.state = ModelState.REMOVED
        await asyncio.to_thread(row.save, update_fields=["state"])
        await status_is(gateway, 404)
        await asyncio.to_thread(lambda: ServiceModel.objects.filter(pk=row.pk).update(state="loaded"))
        await asyncio.to_thread(changes.announce)
        await status_is(gateway, 200)
        service.audience = Audience.SOME
        await asyncio.to_thread(service.save)
        await status_is(gateway, 404)
        await asyncio.to_thread(ServiceTenant.objects.create, service=service, tenant_id=office.tenant.pk)
        await status_is(gateway, 200)

    office.use(run)


def test_looks_at_a_services_health_cost_a_gateway_nothing(office: Office, runtime: FakeUpstream) -> None:
    service = make_service(runtime)
    before = RoutingChange.objects.filter(tenant_id=EVERYBODY).count()
    service.health, service.latency_ms = "up", 3
    service.save(update_fields=["health", "latency_ms", "checked_at", "next_check_at", "updated_at"])
    assert RoutingChange.objects.filter(tenant_id=EVERYBODY).count() == before


# --- Failures and balance -------------------------------------------------------------------------------------------


def test_calls_are_balanced_over_the_urls_and_one_that_is_down_rests(
    office: Office, runtime: FakeUpstream, twin: FakeUpstream
) -> None:
    make_service(runtime, twin)

    async def run(gateway: Gateway) -> None:
        for _ in range(60):
            assert (await send(gateway, PATH, chat_body(NAME), token=office.token)).status == 200
        assert min(runtime.calls[CHAT], twin.calls[CHAT]) >= 5
        twin.status(CHAT, 500, {})
        for _ in range(60):
            assert (await send(gateway, PATH, chat_body(NAME), token=office.token)).status == 200

    office.use(run)
    failed = [one for one in office.records() if len(one.attempts) > 1]
    assert 5 <= len(failed) <= 30  # then the breaker keeps calls away


def test_a_url_where_nothing_listens_costs_calls_no_answer(office: Office, runtime: FakeUpstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    make_service(urls=[closed, runtime.root])

    async def run(gateway: Gateway) -> list[int]:
        replies = [await send(gateway, PATH, chat_body(NAME), token=office.token) for _ in range(30)]
        return [reply.status for reply in replies]

    assert set(office.use(run)) == {200}
    assert runtime.calls[CHAT] == 30


def test_no_two_ways_share_what_their_failures_are_counted_under(
    office: Office, runtime: FakeUpstream, twin: FakeUpstream
) -> None:
    make_service(runtime, twin)
    taken = snapshot.load(office.tenant.pk)
    keys = [one.key for ones in taken.deployments.values() for one in ones]
    assert len(keys) == len(set(keys)) == 5 + 2 * 3


def test_a_service_that_hangs_holds_a_call_no_longer_than_its_long_timeout(
    office: Office, runtime: FakeUpstream
) -> None:
    make_service(runtime, long_timeout_s=1)
    runtime.hang(CHAT)
    for stream in (False, True):
        reply = office.chat(NAME, stream=stream)
        assert (reply.status, reply.error["code"]) == (504, "timed_out")


def test_an_address_that_staff_have_not_approved_is_not_called(
    office: Office, runtime: FakeUpstream, settings: Any
) -> None:
    settings.ALLOWED_NETWORKS = []
    make_service(runtime, allowed_networks=[])
    assert office.chat(NAME).error["code"] == "address_blocked"
    assert runtime.total_calls == 0


def test_a_service_that_cannot_stream_says_so(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime, capabilities={"streaming": False})
    reply = office.chat(NAME, stream=True)
    assert (reply.status, reply.error["code"]) == (400, "unsupported")
    assert "stream" in reply.error["message"]
    assert office.chat(NAME).status == 200


@pytest.mark.parametrize(
    "columns",
    [{"type": "gone"}, {"options": {"quirks": {"nonsense": 1}}}, {"options": {"prices": "free"}}],
)
def test_a_service_that_makes_no_sense_is_left_out_and_nothing_else(
    office: Office, runtime: FakeUpstream, columns: dict[str, Any]
) -> None:
    make_service(runtime)
    add_model(make_service(name="odd", **{"urls": [runtime.root], **columns}), "more")
    assert office.chat(NAME).status == 200
    assert office.chat("odd~more").status == 404


# --- Limits, budgets and prices -------------------------------------------------------------------------------------


def test_limits_count_a_services_calls_as_any(office: Office, runtime: FakeUpstream) -> None:
    make_service(runtime)
    limits.create(tenant=office.tenant, model=NAME, requests_per_minute=2, actor=ACTOR)

    async def run(gateway: Gateway) -> list[int]:
        replies = [await send(gateway, PATH, chat_body(NAME), token=office.token) for _ in range(3)]
        return [reply.status for reply in replies]

    assert office.use(run) == [200, 200, 429]


def test_a_services_model_is_unpriced_until_the_operator_says_what_it_costs(
    office: Office, runtime: FakeUpstream
) -> None:
    service = make_service(runtime)
    budgets.create(tenant=office.tenant, amount="1", actor=ACTOR)
    assert office.chat(NAME).error["code"] == "insufficient_quota"
    service.options = {"prices": {"*": {"input": 0, "output": "0"}, "fake-c*": {"input": "1", "output": "2"}}}
    service.save()
    assert office.chat(NAME).status == 200
    assert office.records()[-1].cost == Decimal("0.000012")
    assert office.ask("/v1/embeddings", {"model": "den~fake-embedding", "input": "one"}).status == 200
    assert office.records()[-1].cost == 0


def test_a_tenants_own_model_of_the_same_name_is_not_mixed_with_a_services(
    office: Office, runtime: FakeUpstream
) -> None:
    add_model(make_service(runtime), "x@Fake")
    found, loaded = services.load(office.tenant.pk, but={"den~x@Fake"})
    assert {one.model_id for one in found} == {"den~fake-chat", "den~fake-embedding", "den~fake-rerank"}
    assert loaded == (NAME,)


def test_a_service_whose_key_cannot_be_read_takes_nothing_else_with_it(
    office: Office, runtime: FakeUpstream, twin: FakeUpstream, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVICE_KEY_VARIABLES = [("DEN_API_KEY", "")]
    monkeypatch.setenv("DEN_API_KEY_FILE", "/nowhere/at/all")
    make_service(runtime, api_key_env_var="DEN_API_KEY")
    make_service(twin, name="attic")
    assert office.chat("fake-chat@Fake").status == 200
    assert office.chat("attic~fake-chat").status == 200
    assert office.chat(NAME).status == 404
