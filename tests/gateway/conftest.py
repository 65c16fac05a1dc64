"""A gateway in this process, and a client that speaks ASGI to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import seal
from providers.models import LLMFactory
from tenants.models import Credential, Tenant, TenantLLM
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office, Reply, make_office
from tests.people import make_tenant, make_token, make_user


async def ask(
    app: Callable[..., Awaitable[None]],
    path: str,
    token: str = "",
    *,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
) -> Reply:
    """One request through an ASGI application."""
    given = [*headers, *([("Authorization", f"Bearer {token}")] if token else [])]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), *((n.lower().encode(), v.encode("latin-1")) for n, v in given)],
        "client": ("127.0.0.1", 5),
        "server": ("testserver", 80),
        "asgi": {"version": "3.0"},
    }
    sent: list[Any] = []
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        try:
            return next(requests)
        except StopIteration:
            await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    return Reply(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        [message.get("body", b"") for message in sent[1:]],
    )


@dataclass(frozen=True)
class World:
    """A tenant with one usable model, and a token for it."""

    tenant: Tenant
    factory: LLMFactory
    credential: Credential
    model: TenantLLM
    token: str


def make_credential(tenant: Tenant, factory: LLMFactory, *, label: str = "default", **columns: Any) -> Credential:
    credential = Credential(tenant=tenant, factory=factory, label=label, base_url="https://api.example.com", **columns)
    credential.secret = seal("not-a-real-one", owner=credential.owner, origin=origin_of(credential.base_url))
    credential.save()
    return credential


def make_model(credential: Credential, name: str, **columns: Any) -> TenantLLM:
    return TenantLLM.objects.create(
        tenant=credential.tenant,
        credential=credential,
        factory=credential.factory,
        llm_name=name,
        model_types=["chat"],
        **columns,
    )


@pytest.fixture
def world(transactional_db: None) -> World:
    owner = make_user()
    tenant = make_tenant(owner=owner)
    factory = LLMFactory.objects.create(name="Acme", base_url="https://api.example.com")
    credential = make_credential(tenant, factory)
    model = make_model(credential, "acme-large")
    return World(tenant, factory, credential, model, make_token(tenant, user=owner))


@pytest.fixture
def office(
    transactional_db: None, upstream: FakeUpstream, tmp_path: Path, settings: Any, loopback_allowed: None
) -> Office:
    """A tenant whose models the fake upstream serves; what fails is tried again at once."""
    settings.LLM_BASE_DELAY = 0.01
    return make_office(upstream, tmp_path / "spool")
