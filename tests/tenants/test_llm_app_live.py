"""The endpoints as a client meets them: over HTTP, tested by a real worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

from tests.fakes.upstream import KEY, FakeUpstream
from tests.live.stack import Stack

WRONG_KEY = "sk-wrong-9876543210zyxwvu"


def post(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
    headers |= {"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"}
    request = Request(stack.url + path, json.dumps(body).encode(), headers)
    with urlopen(request, timeout=40) as answer:
        return answer.status, json.loads(answer.read())


def model(upstream: FakeUpstream, **more: Any) -> dict[str, Any]:
    return {
        "llm_factory": "VLLM",
        "llm_name": "fake-chat",
        "model_type": "chat",
        "api_base": upstream.url,
        "api_key": KEY,
        "instance": f"port-{upstream.port}",
        **more,
    }


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_model_is_added_listed_and_taken_away(stack: Stack, upstream: FakeUpstream) -> None:
    assert post(stack, "/llm/add_llm", model(upstream)) == (200, {"retcode": 0, "retmsg": "success", "data": True})
    status, mine = stack.get("/v1/llm/my_llms?include_details=true")
    items = {item["instance"]: item for item in mine["data"]["VLLM"]["llm"]}
    assert (status, items[f"port-{upstream.port}"]["verdict"]) == (200, "ok")
    name = {"llm_factory": "VLLM", "llm_name": "fake-chat___VLLM", "instance": f"port-{upstream.port}"}
    assert post(stack, "/api/v1/llm/delete_llm", name)[1]["data"] is True


def test_wrong_key_gets_its_answer_after_one_call(stack: Stack, upstream: FakeUpstream) -> None:
    status, answer = post(stack, "/llm/add_llm", model(upstream, api_key=WRONG_KEY))
    assert (status, answer["retcode"], answer["data"]) == (200, 1, None)
    assert answer["retmsg"].startswith("Fail to access model(fake-chat) using this api key.")
    assert upstream.total_calls == 1
    assert WRONG_KEY not in stack.log()


def test_job_of_a_client_that_does_not_wait_saves_the_model(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.slow("/chat/completions", 1)
    status, answer = post(stack, "/v1/llm/add_llm", model(upstream), Prefer="respond-async")
    assert status == 202
    job = until(lambda: (found := stack.get(answer["data"]["url"])[1])["state"] == "completed" and found)
    assert job["result"]["saved"] is True
    items = stack.get("/llm/my_llms?include_details=true")[1]["data"]["VLLM"]["llm"]
    assert f"port-{upstream.port}" in {item["instance"] for item in items}
