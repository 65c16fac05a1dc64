"""Real server processes on one database: what one place changes, all of them have seen within two seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.live.stack import ROOT, Stack, fetch, free_port
from tests.usage.redis_server import BINARY, RedisServer

SEEN_WITHIN_S = 2.0

MAKE = """
from core.audit import Actor
from django.contrib.auth.models import User
from core.secrets import seal
from providers.models import LLMFactory
from tenants.models import Credential, Membership, Tenant, TenantLLM
from tenants.services import tokens
user = User.objects.create(username="owner")
tenant = Tenant.objects.create(name="T")
Membership.objects.create(tenant=tenant, user=user, role="owner")
factory = LLMFactory.objects.create(name="Acme", base_url="https://api.example.com")
credential = Credential.objects.create(tenant=tenant, factory=factory)
TenantLLM.objects.create(tenant=tenant, credential=credential, factory=factory, llm_name="m", model_types=["chat"])
print(tokens.create(tenant=tenant, name="t", scopes=["invoke"], actor=Actor(user_id=user.pk))[1])
"""
CHANGES = {
    "factory off": "from providers.models import LLMFactory; f = LLMFactory.objects.get(); f.status = '0'; f.save()",
    "factory on": "from providers.models import LLMFactory; f = LLMFactory.objects.get(); f.status = '1'; f.save()",
    "model off": "from tenants.services import tenant_llms; from tenants.models import TenantLLM;"
    "from core.audit import SYSTEM; tenant_llms.set_status(TenantLLM.objects.all(), status='0', actor=SYSTEM)",
    "token revoked": "from tenants.services import tokens; from tenants.models import ApiToken;"
    "from core.audit import SYSTEM; tokens.revoke(ApiToken.objects.get(), actor=SYSTEM)",
}


@pytest.fixture
def place(new_stack: Callable[..., Stack]) -> Stack:
    return new_stack(env={"LOG_LEVEL": "WARNING"}, prepared_by="migrate")


@contextmanager
def serving(place: Stack, *, count: int) -> Iterator[list[str]]:
    """The URLs of that many processes that serve one installation."""
    ports = [free_port() for _ in range(count)]
    command = [sys.executable, "-m", "uvicorn", "llmadmin.asgi:application", "--log-level", "warning", "--port"]
    with place.log_file.open("ab") as log:
        running = [
            subprocess.Popen([*command, str(port)], cwd=ROOT, env=place.env, stdout=log, stderr=log) for port in ports
        ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        end = time.monotonic() + 30
        while not all(fetch(f"{url}/healthz")[0] == 200 for url in urls):
            assert time.monotonic() < end
            time.sleep(0.1)
        yield urls
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


@pytest.fixture
def workers(place: Stack) -> Iterator[list[str]]:
    with serving(place, count=4) as urls:
        yield urls


def names(url: str, token: str) -> list[str] | int:
    """The models that a worker lists, or the status that it answers instead."""
    status, body = fetch(f"{url}/v1/models", token=token)
    return [model["id"] for model in json.loads(body)["data"]] if status == 200 else status


def test_every_worker_sees_a_change_within_two_seconds(place: Stack, workers: list[str]) -> None:
    token = place.manage("shell", "-v0", "-c", MAKE).splitlines()[-1]
    before: list[str] | int = ["m@Acme"]
    for change, after in (("factory off", []), ("factory on", ["m@Acme"]), ("model off", []), ("token revoked", 401)):
        assert [names(url, token) for url in workers] == [before] * 4
        # The command prints the time at which it had committed, on the clock that all processes share.
        code = f"{CHANGES[change]}; import time; print(time.monotonic())"
        committed_at = float(place.manage("shell", "-v0", "-c", code).splitlines()[-1])
        while [names(url, token) for url in workers] != [after] * 4:
            assert time.monotonic() - committed_at < SEEN_WITHIN_S, change
            time.sleep(0.05)
        before = after


@pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")
def test_a_revoked_token_is_refused_by_every_worker_within_two_seconds_without_redis_too(
    new_stack: Callable[..., Stack],
) -> None:
    redis = RedisServer()
    redis.start()
    try:
        place = new_stack(env={"LOG_LEVEL": "WARNING", "REDIS_URL": redis.url}, prepared_by="migrate")
        token = place.manage("shell", "-v0", "-c", MAKE).splitlines()[-1]
        with serving(place, count=4) as urls:
            assert [names(url, token) for url in urls] == [["m@Acme"]] * 4
            redis.stop()
            assert [names(url, token) for url in urls] == [["m@Acme"]] * 4
            code = f"{CHANGES['token revoked']}; import time; print(time.monotonic())"
            committed_at = float(place.manage("shell", "-v0", "-c", code).splitlines()[-1])
            while [names(url, token) for url in urls] != [401] * 4:
                assert time.monotonic() - committed_at < SEEN_WITHIN_S
                time.sleep(0.05)
    finally:
        redis.stop()


def test_without_its_tables_it_says_that_it_cannot_answer_and_lives_on(new_stack: Callable[..., Stack]) -> None:
    place, token = new_stack(), f"lla_{'x' * 43}"
    with serving(place, count=1) as (url,):
        status, body = fetch(f"{url}/v1/models", token=token)
        assert (status, json.loads(body)["error"]["code"]) == (503, "unavailable")
        assert fetch(f"{url}/v1/nothing")[0] == 404
        place.manage("migrate", "-v0")
        assert fetch(f"{url}/v1/models", token=token)[0] == 401
    assert token not in place.log()
    assert "gateway.database_unavailable" in place.log()
