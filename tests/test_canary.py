"""Known secrets go through everything that a running installation has; afterwards only ciphertext may hold them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.fakes.langfuse import INGESTION, PUBLIC_KEY, FakeLangfuse
from tests.fakes.upstream import FakeUpstream
from tests.live.stack import ROOT, Stack
from tests.sinks import Caller, Sinks, command_lines, spellings, stored, until_idle, watched_broker, where

# What is looked for is the part of letters and digits; the rest is what JSON, URLs and shells have to escape.
CORES = {
    "the key that works": "Gd7Hq2xV9tL4zNq8Wk",
    "the key that is refused": "Bd5Rm8cJ1pS6yUe3Tg",
    "the key typed into the admin": "Ad3Vn6kF0wZ9hXi7Lb",
    "the password that was mistyped": "Pw4Dq1sY8oC2gMj5Ev",
    "the key of Langfuse": "Lf6Ws3bN8tQ1xKc4Hy",
}
LEAD = "k\"/+\\'$%<&"
GOOD, BAD, TYPED, MISTYPED, TRACED = (LEAD + core for core in CORES.values())
NOT_SINKS = ("keys.json", "first-run.json")  # where they belong, for their owner alone

REVEAL = """
import hashlib
from tenants.models import Credential
for row in Credential.objects.exclude(secret=None):
    opened = row.open_secret()
    print(hashlib.sha256(opened.reveal(origin=opened.origin).encode()).hexdigest())
"""


@pytest.fixture
def place(new_stack: Callable[..., Stack]) -> Stack:
    env = {"ALLOWED_NETWORKS": "127.0.0.0/8", "JOB_HEARTBEAT_S": "1", "JOB_LEASE_S": "4", "LOG_LEVEL": "DEBUG"}
    return new_stack(env={**env, "PROBE_TIMEOUT_S": "5", "API_PROBE_THROTTLE": "1000/min"}).start()


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(key=GOOD) as fake:
        yield fake


def test_a_secret_is_found_in_every_spelling() -> None:
    core = CORES["the key that works"]
    for lead in ("", "a", "ab", "abc", "Bearer "):
        told = base64.b64encode(f"{lead}{core}!".encode())
        assert any(spelling in told for spelling in spellings(core)), lead
    assert where(core, [("a", quote(GOOD).encode()), ("b", json.dumps(GOOD).encode()), ("c", b"x")]) == ["a", "b"]


def test_no_sink_holds_a_secret(place: Stack, upstream: FakeUpstream) -> None:
    sinks: Sinks = []
    caller = Caller(place, sinks)
    with watched_broker(place, sinks):
        credential_id = through_the_apis(caller, upstream)
        through_the_gateway(caller, upstream)
        through_failures(caller, upstream, credential_id)
        through_langfuse(caller)
        token = through_tokens(caller)
        through_the_admin(caller, upstream)
        until_idle(caller, place.token)
        looks_at_everything(caller)
        sinks += command_lines(place.pids())
    place.stop()
    through_commands(place, sinks)
    sinks += stored(place, except_for=NOT_SINKS)
    log = place.log().encode()

    assert len(sinks) > 200
    assert any(GOOD in request.headers.get("authorization", "") for request in upstream.requests), (
        "it never was in play"
    )
    assert hashlib.sha256(GOOD.encode()).hexdigest() in place.manage("shell", "-v0", "-c", REVEAL)
    found = {what: where(core, [*sinks, ("the log", log)]) for what, core in CORES.items()}
    keys = json.loads((place.data_dir / "keys.json").read_text())
    secrets = {"SECRET_KEY": keys["secret_key"], "a new token": token, "the admin's password": place.admin.password}
    secrets |= {f"encryption key {number}": key for number, key in enumerate(keys["field_encryption_keys"])}
    found |= {what: where(secret, sinks) for what, secret in {**secrets, "the first token": place.token}.items()}
    found |= {f"{what}, in the log": where(secret, [("the log", log)]) for what, secret in secrets.items()
              if what != "the admin's password"}  # fmt: skip
    assert {what: names for what, names in found.items() if names} == {}
    for once in (place.token, place.admin.password):  # the first start says them, and never again
        assert log.count(once.encode()) <= 1


def through_the_apis(caller: Caller, upstream: FakeUpstream) -> str:
    """Good, bad and malformed writes at each of the doors; answers the id of a credential with the good key."""
    token, url = caller.stack.token, upstream.url
    for mount in ("/llm", "/v1/llm", "/api/v1/llm"):
        for key in (BAD, GOOD):
            body = {"llm_factory": "OpenAI", "api_key": key, "base_url": url}
            caller.json("POST", f"{mount}/set_api_key", body, token=token)
            caller.json("POST", f"{mount}/set_api_key", {**body, "verify": True}, token=token)
            model = {"llm_factory": "OpenAI-API-Compatible", "llm_name": "fake-chat", "model_type": "chat"}
            model |= {"api_base": url, "api_key": key, "max_tokens": 1000}
            caller.json("POST", f"{mount}/add_llm", model, token=token)
        caller.json("POST", f"{mount}/set_api_key", {"llm_factory": GOOD, "api_key": [GOOD]}, token=token, keep=False)
        caller.json(
            "POST", f"{mount}/set_api_key", f'{{"api_key": "{CORES["the key that works"]}'.encode(), token=token
        )
        caller.json("GET", f"{mount}/my_llms?include_details=true", token=token)
        caller.json("GET", f"{mount}/list", token=token)
    made = ""
    for key in (BAD, GOOD):
        body = {"factory": "OpenAI", "values": {"api_key": key}, "base_url": url, "label": f"rest {key is GOOD}"}
        status, data = caller.json("POST", "/api/credentials/", body, token=token)
        caller.json("POST", "/api/credentials/", {**body, "label": "later"}, token=token, Prefer="respond-async")
        made = data["id"] if status == 201 else made
    assert made, "the good key was not saved"
    caller.json("POST", "/api/credentials/", {"factory": "OpenAI", "values": {"api_kez": GOOD}}, token=token)
    caller.json("POST", "/api/credentials/", {"factory": "OpenAI", "values": {"api_key": {"a": GOOD}}}, token=token)
    caller.json("POST", "/api/credentials/", {"factory": "OpenAI", "values": GOOD, "api_key": GOOD}, token=token)
    caller.json("POST", "/api/credentials/", {"factory": "OpenAI", "values": {"api_key": GOOD * 1000}}, token=token)
    for key in (BAD, GOOD):
        caller.json("PATCH", f"/api/credentials/{made}/", {"values": {"api_key": key}}, token=token)
    caller.json("PATCH", f"/api/credentials/{made}/", {"base_url": "https://api.example.com"}, token=token)
    caller.json("POST", f"/api/credentials/{made}/test/", {}, token=token)
    until_idle(caller, token)
    return made


def through_the_gateway(caller: Caller, upstream: FakeUpstream) -> None:
    """Calls of every outcome, with an upstream that says the key back, and keys and tokens where they do not belong."""
    token, path = caller.stack.token, "/chat/completions"
    names = [model["id"] for model in caller.json("GET", "/v1/models", token=token)[1]["data"]]
    model = next(name for name in names if name.startswith("fake-chat"))
    echoes = f"{GOOD} {quote(GOOD)} {base64.b64encode(GOOD.encode()).decode()}"
    error = json.dumps({"error": dict.fromkeys(["message", "type", "code", "param"], echoes)}).encode()

    def call(body: dict[str, Any], token: str = token) -> int:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return caller.send("POST", f"/v1{path}", data=json.dumps(body).encode(), headers=headers)[0]

    for stream in (False, True):
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        assert call(body) == 200
        for status in (400, 403, 404, 422):
            upstream.raw(path, error, status=status, content_type="application/json")
            assert call(body) >= 400
        upstream.raw(path, b"data: " + error + b"\n\n", content_type="text/event-stream")
        call(body)
        upstream.raw(path, f"<title>{echoes}</title>".encode(), content_type="text/html")
        call(body)
        upstream.well(path)
        call({**body, "model": token})
        call({**body, "messages": "no list"})
        call(body, f"{token}x")


def through_langfuse(caller: Caller) -> None:
    """Its key at both doors, said back in the project's name and by a server that takes no traces."""
    token = caller.stack.token
    with FakeLangfuse(secret_key=TRACED, project=f"{TRACED} {quote(TRACED)}") as server:
        keys = {"host": server.url, "public_key": PUBLIC_KEY, "secret_key": TRACED, "content": True}
        for path in ("/v1/langfuse/api_key", "/api/v1/langfuse/api-key", "/api/langfuse/"):
            assert caller.json("PUT", path, keys, token=token)[0] == 200
            caller.json("PUT", path, {**keys, "host": TRACED}, token=token, keep=False)
            caller.json("PUT", path, {**keys, "public_key": [TRACED]}, token=token)
            caller.json("GET", path, token=token)
        model = caller.json("GET", "/v1/models", token=token)[1]["data"][0]["id"]
        chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(2):
            caller.json("POST", "/v1/chat/completions", chat, token=token)
            assert server.arrived(INGESTION), "no trace came"
            server.raw(INGESTION, f"{TRACED} {quote(TRACED)}".encode(), status=400)
    caller.json("GET", "/metrics", token=token)
    caller.json("DELETE", "/api/langfuse/", token=token)


def through_failures(caller: Caller, upstream: FakeUpstream, credential_id: str) -> None:
    """An upstream that says the key back in every way it can, and a worker that is killed while it holds the key."""
    token = caller.stack.token
    echoes = f"{GOOD} {quote(GOOD)} {base64.b64encode(f'Bearer {GOOD}'.encode()).decode()} {json.dumps(GOOD)}"
    escaped = "".join(f"\\u{ord(character):04x}" for character in GOOD)
    test = f"/api/credentials/{credential_id}/test/"
    for path in ("/models", "/chat/completions", "/embeddings"):
        for status in (400, 401, 403, 404, 429, 500):
            upstream.raw(path, f"<html><title>{echoes}</title>{echoes}</html>".encode(), status=status)
            if status in (400, 401, 500):
                caller.json("POST", test, {}, token=token)
        upstream.raw(path, f'{{"error": {{"message": "{escaped}", "code": "{escaped}"}}}}'.encode(), status=401)
        caller.json("POST", test, {}, token=token)
        upstream.raw(path, json.dumps({"data": [{"id": GOOD}], "choices": GOOD}).encode(), content_type="text/html")
        caller.json("POST", test, {}, token=token)
        upstream.redirect(path, f"{upstream.root}/elsewhere?key={quote(GOOD)}")
        caller.json("POST", test, {}, token=token)
        upstream.status(path, 429, {"error": echoes}, Retry_After=quote(GOOD), X_Request_Id=quote(GOOD))
        caller.json("POST", test, {}, token=token)
        upstream.well(path)
    upstream.hang("/models")
    caller.json("POST", test, {}, token=token, Prefer="respond-async")
    caller.stack.restart_worker()
    upstream.well("/models")
    until_idle(caller, token)


def through_tokens(caller: Caller) -> str:
    """A token that is made, used, misused and revoked; answers its text."""
    body = {"name": "canary", "scopes": ["read", "write", "invoke"]}
    status, made = caller.json("POST", "/api/tokens/", body, token=caller.stack.token, keep=False)
    assert status == 201, made
    plain = next(value for value in _texts(made) if re.fullmatch(r"lla_[\w-]{43}", value))
    for path in ("/v1/models", "/api/me/", "/api/tokens/", "/llm/my_llms", "/v1/nothing"):
        caller.json("GET", path, token=plain)
        caller.send("GET", path, headers={"Authorization": plain})
        caller.send("GET", path, headers={"Authorization": f"Basic {plain}"})
        caller.send("GET", path, headers={"Authorization": f"Bearer {plain}x"})
    caller.send("GET", f"/v1/models/{plain}", headers={"Authorization": f"Bearer {plain}"})
    pk = next(
        row["id"] for row in caller.json("GET", "/api/tokens/", token=plain)[1]["results"] if row["name"] == "canary"
    )
    caller.json("DELETE", f"/api/tokens/{pk}/", token=plain)
    assert caller.json("GET", "/api/me/", token=plain)[0] == 401
    return plain


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


def through_the_admin(caller: Caller, upstream: FakeUpstream) -> None:
    """A login with a wrong password and with the right one; a key in the form, refused by it and then saved."""
    admin = caller.stack.admin
    assert not caller.log_in(admin.username, MISTYPED)
    assert caller.log_in(admin.username, admin.password)
    _, listed = caller.send("GET", "/admin/providers/llmfactory/?q=OpenAI-API-Compatible")
    factory = re.search(r"/admin/providers/llmfactory/(\d+)/change/", listed.decode())
    assert factory
    form = f"/admin/tenants/credential/add/?tenant={caller.stack.tenant_id}&factory={factory[1]}"
    page = caller.send("GET", form)[1].decode()
    assert 'name="value_api_key"' in page
    fields = {"label": "typed", "base_url": "not a url", "value_api_key": TYPED, "test_now": "on"}
    status, again = caller.post_form(form, fields)
    assert status == 200
    assert 'name="value_api_key"' in again, "the form was to refuse the URL"
    _, saved = caller.post_form(form, {**fields, "base_url": upstream.url})
    assert 'name="value_api_key" class' not in saved or "typed" in saved


def looks_at_everything(caller: Caller) -> None:
    token = caller.stack.token
    assert caller.crawl("/admin/", pages=250) > 60
    _, schema = caller.json("GET", "/api/schema/?format=json", token=token)
    lists = [path for path in schema["paths"] if "{" not in path and "get" in schema["paths"][path]]
    assert len(lists) >= 10
    for path in lists:
        _, data = caller.json("GET", f"{path}?page_size=100", token=token)
        for row in (data.get("results") or [])[:40] if isinstance(data, dict) else []:
            if "id" in row and f"{path}{{id}}/" in schema["paths"]:
                caller.json("GET", f"{path}{row['id']}/", token=token)
    for path in ("/v1/models", "/llm/factories", "/llm/my_llms", "/llm/list", "/v1/user/tenant_info", "/readyz", "/"):
        caller.json("GET", path, token=token)


def through_commands(place: Stack, sinks: Sinks) -> None:
    for arguments in (
        ["rotate_secrets", "--new-key"],
        ["rotate_secrets", "--dry-run"],
        ["rotate_secrets"],
        ["dumpdata", "--all"],
        ["export_catalog"],
        ["check", "--deploy", "--database", "default"],
    ):
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=place.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()[-2000:]
        sinks.append((f"output of {' '.join(arguments)}", done.stdout))
