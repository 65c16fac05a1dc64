"""What callers are told when a service fails: what to do, and nothing of the machine that it runs on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.places import ADDRESS, PATH
from providers.errors import ServerFailed
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import Office
from tests.gateway.python_door import HELLO, python_door
from tests.gateway.serving import make_service

CHAT, NAME = "/chat/completions", "den~fake-chat"
FOLDER, NEIGHBOUR = "/root/.ollama/models/blobs/sha256-1f", "10.1.2.3:11434"
SAID = f"model runner stopped: open {FOLDER}: no such file, asked http://{NEIGHBOUR}/api and gpu.lab.internal"


@pytest.fixture(autouse=True)
def once(settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 0


@pytest.fixture
def runtime() -> Iterator[FakeUpstream]:
    with FakeUpstream(key=None) as fake:
        make_service(fake)
        yield fake


def places_in(text: str) -> list[str]:
    return [place for place in ("/root", ".ollama", "10.1.2.3", "11434", "lab.internal") if place in text]


@pytest.mark.parametrize(
    ("status", "code", "next"),
    [(500, "server_failed", "tell those who run"), (400, "bad_request", "takes these parameters"),
     (401, "authentication_failed", "tell those who run"), (503, "overloaded", "Try again in a minute")],
)  # fmt: skip
def test_over_http(office: Office, runtime: FakeUpstream, status: int, code: str, next: str) -> None:
    runtime.status(CHAT, status, {"error": {"message": SAID}})
    for stream in (False, True):
        error = office.chat(NAME, stream=stream).error
        assert (error["code"], places_in(str(error))) == (code, [])
        assert next in error["message"]
        assert f"model runner stopped: open {PATH}: no such file" in error["message"] and ADDRESS in error["message"]


def test_in_the_middle_of_a_stream(office: Office, runtime: FakeUpstream) -> None:
    def fails(handler: Handler) -> None:
        begun = b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n'
        failed = b'data: {"error": {"message": "%b"}}\n\n' % SAID.encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", str(len(begun + failed)))
        handler.end_headers()
        handler.wfile.write(begun + failed)

    runtime.behave(CHAT, fails)
    reply = office.chat(NAME, stream=True)
    assert "model runner stopped" in reply.body.decode() and places_in(reply.body.decode()) == []


def test_from_python(office: Office, runtime: FakeUpstream, settings: Any) -> None:
    runtime.status(CHAT, 500, {"error": {"message": SAID}})
    with python_door(office, settings) as make, pytest.raises(ServerFailed) as failed:
        make("chat", NAME).chat(None, HELLO)
    told = failed.value
    assert PATH in told.detail and places_in(f"{told} {told.args} {told.detail}") == []


def test_the_log_tells_those_who_run_it_what_was_said(
    office: Office, runtime: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.status(CHAT, 500, {"error": {"message": SAID}})
    office.chat(NAME)
    assert FOLDER in caplog.text and NEIGHBOUR in caplog.text
    caplog.clear()
    runtime.status(CHAT, 400, {"error": {"message": "what the caller said"}})
    office.chat(NAME)
    assert "what the caller said" not in caplog.text


def test_a_vendors_words_reach_the_tenant_whose_key_it_is(office: Office, upstream: FakeUpstream) -> None:
    upstream.status(CHAT, 500, {"error": {"message": SAID}})
    assert FOLDER in office.chat("fake-chat@Fake").error["message"]
