"""Real workers that do something to models, really killed; a runtime that is told when it is called off."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.processes import until
from tests.live.stack import Stack
from tests.runtimes.fakes.ollama import FakeOllama, chat
from tests.runtimes.fakes.server import hang

pytestmark = pytest.mark.once

SERVICES = """
llm:
  services:
    fake:
      type: ollama
      urls: ["{url}"]
      audience: all
      allowed_networks: ["127.0.0.0/8"]
      options: {{managers_may: [install, delete]}}
    ill:
      type: ollama
      urls: ["{ill}"]
      audience: all
      allowed_networks: ["127.0.0.0/8"]
"""


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    library = [chat(f"big-{number}:7b", layers=(300_000, 3_000, 120)) for number in range(4)]
    with FakeOllama(library=library, chunk_bytes=3_000) as running:
        yield running


@pytest.fixture(scope="module")
def ill() -> Iterator[FakeOllama]:
    """A runtime that takes every request, and answers none."""
    with FakeOllama() as running:
        running.behave("GET", "/api/version", hang)
        yield running


@pytest.fixture(scope="module")
def place(ollama: FakeOllama, ill: FakeOllama) -> Iterator[Stack]:
    """An installation with the fixtures' services and the two fakes."""
    env = {"JOB_HEARTBEAT_S": "0.5", "JOB_LEASE_S": "3", "SERVICE_CHECK_INTERVAL_S": "2"}
    stack = Stack(env=env, prepared_by="bootstrap").start()
    assert "mock-model-7B" in json.dumps(stack.get("/llm/services/mock/models")[1]), "from the first moment on"
    stack.manage("import_services", "-", stdin=SERVICES.format(url=ollama.url, ill=ill.url))
    yield stack
    stack.close()


def post(stack: Stack, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        stack.url + path,
        data=json.dumps(body or {}).encode(),
        headers={"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def install(stack: Stack, model: str) -> str:
    status, job = post(stack, "/jobs", {"type": "install", "params": {"model_name": model}})
    assert status in (200, 202), job
    return str(job["id"])


def job(stack: Stack, pk: str) -> dict[str, Any]:
    status, found = stack.get(f"/jobs/{pk}")
    assert status == 200, found
    return dict(found)


def over(stack: Stack, pk: str, *, within_s: float = 90) -> dict[str, Any]:
    return dict(until(lambda: (found := job(stack, pk))["finished_at"] and found, within_s=within_s))


def services(stack: Stack) -> dict[str, str]:
    code = (
        "from runtimes.models import LLMService; import json;"
        "print(json.dumps(dict(LLMService.objects.values_list('name', 'health'))))"
    )
    return dict(json.loads(stack.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1]))


def test_beat_finds_who_answers_and_one_that_hangs_delays_nobody(place: Stack) -> None:
    seen = until(lambda: (found := services(place))["ill"] == "down" and found, within_s=60)
    assert (seen["mock"], seen["fake"]) == ("up", "up")
    assert seen["openai"] == "unknown", "what nobody enabled is not called"
    status, models = place.get("/llm/services/fake/models")
    assert status == 200
    assert "tiny:latest" in json.dumps(models)


def test_an_install_whose_worker_is_killed_goes_on_and_completes(place: Stack, ollama: FakeOllama) -> None:
    until(lambda: services(place)["fake"] == "up", within_s=60)
    ollama.pause_s = 0.05
    pk = install(place, "fake~big-0:7b")
    shown = until(lambda: (found := job(place, pk))["progress_detail"].get("done_bytes") and found)
    assert shown["progress_detail"]["total_bytes"] > shown["progress_detail"]["done_bytes"]
    place.restart_worker(signal.SIGKILL, name="models-worker")
    ollama.wait_for("POST", "/api/pull", closed=True)
    ollama.pause_s = 0.0
    ended = over(place, pk)
    assert (ended["state"], ended["attempts"]) == ("completed", 2), ended
    assert len([one for one in ollama.asked("POST", "/api/pull") if one.json["model"] == "big-0:7b"]) == 2
    assert place.get("/llm/services/fake/models/big-0:7b")[0] == 200


def test_a_cancel_reaches_the_runtime_within_two_seconds(place: Stack, ollama: FakeOllama) -> None:
    until(lambda: services(place)["fake"] == "up", within_s=60)
    ollama.pause_s = 0.1
    pk = install(place, "fake~big-1:7b")
    until(lambda: job(place, pk)["progress_detail"].get("done_bytes"))
    asked = time.monotonic()
    assert post(place, f"/jobs/{pk}/cancel")[0] in (200, 202)
    pull = next(one for one in ollama.asked("POST", "/api/pull") if one.json["model"] == "big-1:7b")
    until(lambda: pull.closed, within_s=10)
    took_s = time.monotonic() - asked
    ollama.pause_s = 0.0
    assert over(place, pk)["state"] == "cancelled"
    assert took_s < 2, f"it took {took_s:.1f} s"


def test_the_second_who_asks_joins_the_first(place: Stack, ollama: FakeOllama) -> None:
    until(lambda: services(place)["fake"] == "up", within_s=60)
    ollama.pause_s = 0.05
    first, second = install(place, "fake~big-2:7b"), install(place, "fake~big-2:7b")
    ollama.pause_s = 0.0
    assert first == second
    assert over(place, first)["state"] == "completed"


def test_what_it_cannot_do_is_refused_at_once(place: Stack) -> None:
    status, told = post(place, "/jobs", {"type": "load", "params": {"model_name": "openai~gpt-4o"}})
    assert status == 404, told
    status, told = post(place, "/jobs", {"type": "delete", "params": {"model_name": "ill~tiny"}})
    assert status == 403, told


def test_the_mock_service_is_installed_into_and_called_without_any_key(place: Stack) -> None:
    until(lambda: services(place)["mock"] == "up", within_s=60)
    assert over(place, install(place, "mock~my-own-1b"))["state"] == "completed"
    asked = {"model": "mock~my-own-1b", "messages": [{"role": "user", "content": "Hello!"}]}

    def answered() -> Any:
        status, told = post(place, "/v1/chat/completions", asked)
        return status == 200 and told

    told = until(answered, within_s=20)
    assert told["choices"][0]["message"]["content"]
