"""One ASGI application, two owners of paths: the gateway has its own, everything else is Django's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway import store
from llmadmin.asgi import MAX_FORM_BYTES, application, gateway_owns
from tests.gateway.conftest import World, ask

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "path",
    ["/v1", "/v1/", "/v1/models", "/v1/models/a/b@c", "/v1/chat/completions", "/v1/llmx", "/v1/users", "/v1/nothing"],
)
def test_the_gateway_owns_its_paths(path: str) -> None:
    assert gateway_owns(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/v1/llm",
        "/v1/llm/my_llms",
        "/v1/user/tenant_info",
        "/v1/langfuse/api_key",
        "/v1x/models",
        "/api/v1/llm/list",
        "/llm/list",
        "/admin/",
        "/healthz",
        "//v1/models",
    ],
)
def test_everything_else_is_djangos(path: str) -> None:
    assert not gateway_owns(path)


async def live(*events: str) -> list[str]:
    """What the application says to a server's lifespan."""
    incoming = iter(events)
    said: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": f"lifespan.{next(incoming)}"}

    async def send(message: Any) -> None:
        said.append(message["type"])

    await application({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    return said


def test_a_servers_start_and_stop_are_answered(transactional_db: None) -> None:
    assert store.age_s() is None
    assert asyncio.run(live("startup", "shutdown")) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert store.age_s() is None


def test_both_owners_answer_in_one_process(world: World) -> None:
    async def both() -> tuple[Any, Any]:
        try:
            return await ask(application, "/v1/models", world.token), await ask(application, "/healthz")
        finally:
            await live("shutdown")

    models, health = asyncio.run(both())
    assert [model["id"] for model in models.data["data"]] == ["acme-large@Acme"]
    assert health.status == 200
    assert len(health.headers["x-request-id"]) == 32


def test_a_websocket_is_turned_away() -> None:
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    asyncio.run(application({"type": "websocket", "path": "/v1/models", "headers": []}, receive, send))
    assert [message["type"] for message in said] == ["websocket.close"]


def test_a_body_too_large_for_any_form_ends_before_it_is_read() -> None:
    piece, taken, said = b"x" * 1024**2, 0, list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += len(piece)
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded")]
    scope = {"type": "http", "method": "POST", "path": "/admin/login/", "headers": headers, "query_string": b""}
    asyncio.run(application(scope, receive, send))
    assert [message.get("status") for message in said] == [413, None]
    assert b"larger than" in said[1]["body"]
    assert taken == MAX_FORM_BYTES + len(piece)
