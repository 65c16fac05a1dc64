"""Who may read /metrics, and that a parser of Prometheus's own reads what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.clock import now
from core.ids import new_id
from gateway import metrics as counting
from gateway import published
from gateway.app import Gateway
from jobs.models import WorkerHeartbeat
from llmadmin.asgi import application
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office, Reply, chat_body, make_office, send

TOKEN = "metrics-token-5Kq2wX8vB3nM7rT1"
HERE = {"host": "127.0.0.1:8000"}


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Iterator[None]:
    settings.DATA_DIR = tmp_path
    settings.METRICS_TOKEN = ""
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    yield
    published.stop()


@pytest.fixture
def office(transactional_db: None, upstream: FakeUpstream, tmp_path: Path, loopback_allowed: None) -> Office:
    return make_office(upstream, tmp_path / "spool")


async def read(headers: Mapping[str, str] = HERE, *, client: str = "127.0.0.1", method: str = "GET") -> Reply:
    reply = Reply()
    scope = {
        "type": "http",
        "method": method,
        "path": "/metrics",
        "client": (client, 40000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
        else:
            reply.pieces.append(message["body"])

    await application(scope, receive, answer)
    return reply


def status(*args: Any, **how: Any) -> int:
    return asyncio.run(read(*args, **how)).status


def samples(reply: Reply) -> Callable[..., float]:
    """The value of the one sample that has a name and these labels."""
    found = [one for family in text_string_to_metric_families(reply.body.decode()) for one in family.samples]

    def value(name: str, **labels: str) -> float:
        return sum(one.value for one in found if one.name == name and labels.items() <= one.labels.items())

    return value


@pytest.mark.django_db
def test_a_token_is_asked_of_everybody_where_there_is_one(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert status() == 401
    assert status({**HERE, "Authorization": "Bearer metrics-token-of-somebody"}) == 401
    assert status({**HERE, "Authorization": f"Basic {TOKEN}"}) == 401
    assert status({"host": "llm.example.com", "Authorization": f"Bearer {TOKEN}"}, client="192.0.2.7") == 200


@pytest.mark.django_db
def test_without_a_token_it_is_for_this_machine_alone() -> None:
    assert status() == 200
    assert status({"host": "localhost"}, client="::1") == 200
    assert status(client="192.0.2.7") == 404
    assert status({"host": "evil.example"}) == 404
    assert status({}) == 404


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_without_a_token_no_proxy_is_believed_to_be_this_machine(header: str) -> None:
    assert status({**HERE, header: "127.0.0.1"}) == 404


@pytest.mark.parametrize("values", [{"PUBLIC_URL": "https://llm.example.com"}, {"TRUSTED_PROXIES": 1}])
def test_without_a_token_a_public_installation_says_nothing(settings: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    assert status() == 404


@pytest.mark.django_db
def test_it_is_only_read() -> None:
    assert status(method="POST") == 405
    assert asyncio.run(read(method="HEAD")).body == b""


def test_a_call_is_seen_in_numbers_and_nothing_of_what_was_said(office: Office, upstream: FakeUpstream) -> None:
    said = f"hello-{new_id()}"

    async def work(gateway: Gateway) -> tuple[Reply, Reply]:
        before = await read()
        body = {**chat_body(), "messages": [{"role": "user", "content": said}], "user": f"user-{said}"}
        assert (await send(gateway, "/v1/chat/completions", body, token=office.token)).status == 200
        streamed = await send(gateway, "/v1/chat/completions", {**body, "stream": True}, token=office.token)
        assert streamed.status == 200
        upstream.status("/chat/completions", 400, {"error": {"message": "no"}})
        assert (await send(gateway, "/v1/chat/completions", body, token=office.token)).status == 400
        return before, await read()

    first, second = office.use(work)
    before, after = samples(first), samples(second)

    def more(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    chat = {"operation": "chat", "factory": "Fake", "model": "fake-chat"}
    assert more("llmadmin_requests_total", **chat, outcome="complete", status="200") == 2
    assert more("llmadmin_requests_total", **chat, outcome="error", status="400") == 1
    assert more("llmadmin_request_duration_seconds_count", **chat, outcome="complete") == 2
    assert more("llmadmin_time_to_first_token_seconds_count", **chat) == 1
    assert more("llmadmin_tokens_total", **chat, type="input") > 0
    assert more("llmadmin_tokens_total", **chat, type="output") > 0
    assert more("llmadmin_cost_usd_total", **chat) > 0
    assert more("llmadmin_attempts_total", factory="Fake", model="fake-chat", code="ok") == 2
    assert more("llmadmin_attempts_total", factory="Fake", model="fake-chat", code="bad_request") == 1
    assert after("llmadmin_spool_backlog_bytes") > 0
    assert after("llmadmin_upstream_connections", state="idle") > 0
    assert after("llmadmin_processes") == 1
    page = second.body.decode()
    assert not any(text in page for text in (said, office.token, office.tenant.pk, "tenant="))


def test_a_stream_is_open_until_it_has_ended(office: Office) -> None:
    async def work(gateway: Gateway) -> list[int]:
        seen: list[int] = []
        await send(
            gateway,
            "/v1/chat/completions",
            chat_body(stream=True),
            token=office.token,
            on_piece=lambda _: seen.append(counting.gauges()["open_streams"]),
        )
        return [max(seen), counting.gauges()["open_streams"]]

    assert office.use(work) == [1, 0]


@pytest.mark.django_db(transaction=True)
def test_a_queue_whose_worker_fell_silent_is_seen() -> None:
    WorkerHeartbeat.objects.create(name="w@here", seen_at=now() - timedelta(seconds=90), queues=["default"])
    WorkerHeartbeat.objects.create(name="m@here", seen_at=now(), queues=["models"])
    page = asyncio.run(read())
    value = samples(page)
    assert 90 <= value("llmadmin_worker_silent_seconds", queue="default") < 120
    assert value("llmadmin_worker_silent_seconds", queue="models") < 30
    assert 'queue="maintenance"' not in page.body.decode()


def test_a_folder_that_is_gone_is_told(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "file"
    settings.DATA_DIR.touch()
    assert status() == 503
