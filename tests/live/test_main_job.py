"""The main job, on a started installation with real workers: keys put to real model servers and to broken ones."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aimock import Aimock
from tests.fakes.upstream import KEY, FakeUpstream
from tests.live.processes import until
from tests.live.stack import Stack, free_port
from tests.llamacpp.fixtures import LlamaCpp

pytestmark = pytest.mark.once

WRONG = "sk-wrong-key-0123456789"
COMPATIBLE = "OpenAI-API-Compatible"


def request(stack: Stack, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a request with the stack's own token."""
    asked = urllib.request.Request(
        stack.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {stack.token}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(asked, timeout=40) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def post(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    return request(stack, "POST", path, body, **headers)


def add(stack: Stack, name: str, kind: str, base_url: str, api_key: str) -> dict[str, Any]:
    body = {"llm_factory": COMPATIBLE, "llm_name": name, "model_type": kind, "api_base": base_url, "api_key": api_key}
    status, answer = post(stack, "/llm/add_llm", {**body, "max_tokens": 2048})
    assert status == 200
    return dict(answer)


def last_probe(stack: Stack) -> dict[str, Any]:
    status, page = stack.get("/api/probes/?page_size=1")
    assert status == 200
    return dict(page["results"][0])


@pytest.fixture
def emptied(stack: Stack) -> Iterator[Stack]:
    """The shared installation, whose tenant has neither key nor model before and after."""
    empty(stack)
    yield stack
    empty(stack)


def empty(stack: Stack) -> None:
    for what in ("routes", "credentials"):
        while rows := stack.get(f"/api/{what}/")[1]["results"]:
            for row in rows:
                assert request(stack, "DELETE", f"/api/{what}/{row['id']}/")[0] == 204


def test_models_of_a_real_server_are_added_listed_and_disabled(
    emptied: Stack, llamacpp_chat: LlamaCpp, llamacpp_embed: LlamaCpp, llamacpp_rerank: LlamaCpp
) -> None:
    stack = emptied
    for server, kind in ((llamacpp_chat, "chat"), (llamacpp_embed, "embedding"), (llamacpp_rerank, "rerank")):
        assert add(stack, server.model, kind, server.base_url, server.api_key) == {
            "retcode": 0, "retmsg": "success", "data": True,
        }  # fmt: skip
    mine = stack.get("/llm/my_llms?include_details=true")[1]["data"][COMPATIBLE]["llm"]
    assert {(item["name"], item["type"], item["max_tokens"]) for item in mine} == {
        ("tiny-chat___OpenAI-API", "chat", 2048),
        ("tiny-embed___OpenAI-API", "embedding", 2048),
        ("tiny-rerank___OpenAI-API", "rerank", 2048),
    }
    chats = stack.get("/llm/list?model_type=chat")[1]["data"][COMPATIBLE]
    assert [item["llm_name"] for item in chats] == ["tiny-chat___OpenAI-API"]
    assert until_listed(stack, {f"tiny-{kind}___OpenAI-API@{COMPATIBLE}" for kind in ("chat", "embed", "rerank")})
    disable = {"llm_factory": COMPATIBLE, "llm_name": "tiny-chat___OpenAI-API", "status": 0}
    assert post(stack, "/llm/enable_llm", disable)[1]["data"] is True
    assert until_listed(stack, {f"tiny-{kind}___OpenAI-API@{COMPATIBLE}" for kind in ("embed", "rerank")})


def own_models(stack: Stack) -> set[str]:
    """What `/v1/models` lists beside the models of services."""
    return {model["id"] for model in stack.get("/v1/models")[1]["data"] if "~" not in model["id"]}


def until_listed(stack: Stack, names: set[str]) -> bool:
    """Wait until the tenant's own models are exactly these; how soon that has to be is for `test_workers`."""
    return bool(until(lambda: own_models(stack) == names, seen=lambda: (own_models(stack), stack.log()[-4000:])))


def test_wrong_key_for_a_real_server_is_told_and_saves_nothing(emptied: Stack, llamacpp_chat: LlamaCpp) -> None:
    answer = add(emptied, llamacpp_chat.model, "chat", llamacpp_chat.base_url, WRONG)
    assert (answer["retcode"], answer["data"]) == (1, None)
    assert answer["retmsg"].startswith(f"Fail to access model({llamacpp_chat.model}) using this api key.")
    assert WRONG not in answer["retmsg"]
    assert last_probe(emptied)["verdict"] == "bad_key"
    assert emptied.get("/llm/my_llms")[1]["data"] == {}


def test_key_for_a_third_partys_simulator_is_saved_after_two_calls(emptied: Stack, aimock: Aimock) -> None:
    aimock.forget()
    body = {"llm_factory": "OpenAI", "api_key": aimock.api_key, "base_url": aimock.base_url}
    assert post(emptied, "/llm/set_api_key", body) == (200, {"retcode": 0, "retmsg": "success", "data": True})
    posted = [entry["path"] for entry in aimock.journal if entry["method"] == "POST"]
    assert posted == ["/v1/embeddings"]
    assert len(emptied.get("/llm/my_llms")[1]["data"]["OpenAI"]["llm"]) > 20
    status, page = emptied.get("/api/credentials/")
    assert status == 200
    assert [(row["state"], row["verdict"]) for row in page["results"]] == [("ok", "ok")]


def test_wrong_key_costs_one_upstream_call(emptied: Stack, upstream: FakeUpstream) -> None:
    body = {"llm_factory": "OpenAI", "api_key": WRONG, "base_url": upstream.url}
    status, answer = post(emptied, "/v1/llm/set_api_key", body)
    assert (status, answer["code"]) == (200, 102)
    assert "using this api key." in answer["message"] and "data" not in answer
    assert upstream.total_calls == 1
    assert last_probe(emptied)["verdict"] == "bad_key"


def test_each_kind_of_trouble_has_its_own_verdict(emptied: Stack, upstream: FakeUpstream) -> None:
    stack = emptied
    refused = add(stack, "m", "chat", f"http://127.0.0.1:{free_port()}/v1", KEY)
    assert refused["retcode"] == 1 and last_probe(stack)["verdict"] == "unreachable"
    blocked = add(stack, "m", "chat", "http://169.254.169.254/v1", KEY)
    assert blocked["retcode"] == 1 and last_probe(stack)["verdict"] == "blocked_address"
    upstream.html("/models")
    upstream.html("/chat/completions")
    page = add(stack, "m", "chat", upstream.url, KEY)
    assert page["retcode"] == 1 and last_probe(stack)["verdict"] == "bad_reply"
    upstream.status("/models", 404, {"detail": "Not Found"})
    upstream.status("/chat/completions", 404, {"detail": "Not Found"})
    nowhere = add(stack, "m", "chat", upstream.url, KEY)
    assert nowhere["retcode"] == 1 and last_probe(stack)["verdict"] == "wrong_url"
    upstream.hang("/models")
    slow = add(stack, "m", "chat", upstream.url, KEY)
    assert slow["retcode"] == 1 and last_probe(stack)["verdict"] == "timed_out"
    assert stack.get("/llm/my_llms")[1]["data"] == {}


def test_asking_not_to_wait_answers_202_with_a_job_to_watch(emptied: Stack, upstream: FakeUpstream) -> None:
    upstream.slow("/models", 1.0)
    body = {"llm_factory": "OpenAI", "api_key": KEY, "base_url": upstream.url}
    status, answer = post(emptied, "/llm/set_api_key", body, Prefer="respond-async")
    assert status == 202
    job, end = answer["data"]["job_id"], time.monotonic() + 20
    while (found := emptied.get(f"/api/jobs/{job}/")[1])["state"] not in {"completed", "failed"}:
        assert time.monotonic() < end, found
        time.sleep(0.1)
    assert (found["state"], found["result"]["saved"], found["progress"]) == ("completed", True, 100)


def test_worker_killed_in_mid_probe_loses_nothing(emptied: Stack, upstream: FakeUpstream) -> None:
    upstream.slow("/embeddings", 2.0)
    body = {"llm_factory": "OpenAI", "api_key": KEY, "base_url": upstream.url}
    job = post(emptied, "/llm/set_api_key", body, Prefer="respond-async")[1]["data"]["job_id"]
    end = time.monotonic() + 20
    while not upstream.calls["/embeddings"] and time.monotonic() < end:
        time.sleep(0.02)
    emptied.restart_worker()
    upstream.well("/embeddings")
    while (found := emptied.get(f"/api/jobs/{job}/")[1])["state"] != "completed":
        assert time.monotonic() < end + 40, found
        time.sleep(0.2)
    assert found["result"]["saved"] is True
    assert upstream.calls["/models"] == 1  # what was recorded before the kill is not asked again
    assert len(emptied.get("/llm/my_llms")[1]["data"]["OpenAI"]["llm"]) > 20


def test_health_says_ready_meanwhile(stack: Stack) -> None:
    status, answer = stack.get("/readyz")
    assert status == 200 and all(part["ok"] for part in answer["parts"].values())
