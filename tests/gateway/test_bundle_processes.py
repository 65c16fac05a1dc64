"""The Python door under many threads, many tasks, several processes, and in front of real model servers."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from gateway.bundle import LLMBundle, close
from gateway.bundle.door import door
from providers.models import LLMFactory
from tenants.services import credentials, tenant_llms
from tests.fakes.upstream import KEY, FakeUpstream
from tests.gateway.calling import ACTOR, Office
from tests.gateway.python_door import HELLO, python_door, records
from tests.live.stack import ROOT, Stack
from tests.llamacpp.fixtures import LlamaCpp

Make = Callable[..., LLMBundle]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


def test_a_hundred_threads_share_one_engine(make: Make, office: Office, upstream: FakeUpstream) -> None:
    start = threading.Barrier(100)

    def ask(number: int) -> tuple[Any, ...]:
        start.wait(60)
        if number % 2:
            return make().chat(None, HELLO)
        return tuple(make().chat_streamly(None, HELLO))

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(ask, range(100)))
    assert set(answers) == {("Hello!", 10), ("Hel", "lo!", 10)}
    assert len([thread for thread in threading.enumerate() if thread.name == "llm-bundle"]) == 1
    found = records(office)
    assert len(found) == 100
    assert {record.outcome for record in found} == {"complete"}
    assert office.model().used_tokens == 1000


def test_many_tasks_of_several_loops_share_it_too(make: Make, office: Office) -> None:
    async def ask() -> list[tuple[str, int]]:
        bundle = make()
        return await asyncio.gather(*(bundle.async_chat(None, HELLO) for _ in range(40)))

    with ThreadPoolExecutor(3) as threads:
        answers = [one for many in threads.map(lambda _: asyncio.run(ask()), range(3)) for one in many]
    assert answers == [("Hello!", 10)] * 120
    assert len(records(office)) == 120


def test_in_a_coroutine_the_functions_work_and_on_the_engine_s_thread_they_say_no(make: Make) -> None:
    bundle = make()

    async def blocking() -> tuple[str, int]:
        return bundle.chat(None, HELLO)

    assert asyncio.run(blocking())[0] == "Hello!"
    with pytest.raises(RuntimeError, match="own thread"):
        door().run(blocking)


def test_a_bundle_outlives_the_engine(make: Make, office: Office) -> None:
    bundle = make()
    for _ in range(3):
        assert bundle.chat(None, HELLO) == ("Hello!", 10)
        close()
    assert len(records(office)) == 3


def test_closing_ends_what_is_under_way(make: Make, office: Office, upstream: FakeUpstream) -> None:
    came = threading.Event()

    def wait(handler: Any) -> None:
        came.set()
        handler.close_connection = True
        handler.rfile.read(1)

    upstream.behave("/chat/completions", wait)
    bundle = make()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            bundle.chat(None, HELLO)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert came.wait(30)
    close()
    thread.join(30)
    assert not thread.is_alive()
    assert len(failed) == 1
    assert [record.outcome for record in records(office)] == ["client_gone"]


MAKE = """
from core.audit import SYSTEM
from django.contrib.auth.models import User
from providers.models import LLMFactory
from tenants.models import Tenant
from tenants.services import credentials, tenant_llms
tenant = Tenant.objects.create(name="T")
factory = LLMFactory.objects.create(name="Fake", quirks={"version_path": "/v1"})
credential = credentials.create(
    tenant=tenant, factory=factory, base_url=%r, values={"api_key": %r}, actor=SYSTEM)
tenant_llms.add(credential=credential, llm_name="fake-chat", model_types=["chat"], actor=SYSTEM)
print(tenant.pk)
"""


def test_processes_that_celery_forks_have_engines_of_their_own(
    new_stack: Callable[..., Stack], upstream: FakeUpstream
) -> None:
    env = {"LOG_LEVEL": "WARNING", "ALLOWED_NETWORKS": "127.0.0.0/8"}
    place = new_stack(env=env, prepared_by="migrate")
    tenant_id = place.manage("shell", "-v0", "-c", MAKE % (upstream.url, KEY)).split()[-1]
    env = {**place.env, "DJANGO_SETTINGS_MODULE": "llmadmin.settings"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway.forked", tenant_id, "6"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert [text for _, text in told["answers"]] == ["Hello!"] * 8
    parent, *children, again = [pid for pid, _ in told["answers"]]
    assert parent == again
    assert parent not in children
    assert told["recorded"] == 8
    assert "Traceback" not in done.stderr


# --- Real servers ---------------------------------------------------------------------------------------------------


def serve(office: Office, server: LlamaCpp, kind: str) -> str:
    """Let the tenant call a server of llama.cpp; the model's full name."""
    factory, _ = LLMFactory.objects.get_or_create(name="llama.cpp", defaults={"quirks": {"version_path": "/v1"}})
    credential = credentials.create(
        tenant=office.tenant,
        factory=factory,
        label=kind,
        base_url=server.base_url,
        values={"api_key": server.api_key},
        actor=ACTOR,
    )
    tenant_llms.add(credential=credential, llm_name=server.model, model_types=[kind], max_tokens=64, actor=ACTOR)
    return f"{server.model}@llama.cpp"


def test_a_real_model_talks_the_same_both_ways(make: Make, office: Office, llamacpp_chat: LlamaCpp) -> None:
    bundle = make("chat", serve(office, llamacpp_chat, "chat"))
    asked, how = [{"role": "user", "content": "the cat is"}], {"temperature": 0, "seed": 1, "max_tokens": 24}
    with openai.OpenAI(base_url=llamacpp_chat.base_url, api_key=llamacpp_chat.api_key) as api:
        expected = api.chat.completions.create(model=llamacpp_chat.model, messages=asked, **how)  # type: ignore[arg-type]
    said = expected.choices[0].message.content or ""
    text, tokens = bundle.chat(None, asked, how)
    assert expected.usage is not None
    assert text.startswith(said)
    assert tokens == expected.usage.total_tokens
    *pieces, streamed_tokens = bundle.chat_streamly(None, asked, how)
    assert "".join(map(str, pieces)) == text
    assert streamed_tokens == tokens
    read = [(record.input_tokens or 0) + (record.cached_input_tokens or 0) for record in records(office)]
    assert read == [expected.usage.prompt_tokens] * 2


def test_a_real_model_embeds_as_its_server_does(make: Make, office: Office, llamacpp_embed: LlamaCpp) -> None:
    texts = ["green river", "blue house", "green tree"]
    with openai.OpenAI(base_url=llamacpp_embed.base_url, api_key=llamacpp_embed.api_key) as api:
        expected = [item.embedding for item in api.embeddings.create(model=llamacpp_embed.model, input=texts).data]
    bundle = make("embedding", serve(office, llamacpp_embed, "embedding"))
    found, tokens = bundle.encode(texts)
    assert found.shape == (3, 64)
    for row, other in zip(found.tolist(), expected, strict=True):
        assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(row, other, strict=True))
    vector, _ = bundle.encode_queries("green river")
    assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(vector.tolist(), expected[0], strict=True))
    assert tokens > 0
    bundle.encode(["green river " * 500])  # more than the server takes, were it not cut


def test_a_real_model_ranks_as_its_server_does(make: Make, office: Office, llamacpp_rerank: LlamaCpp) -> None:
    documents = ["blue house", "green river", "green tree"]
    with openai.OpenAI(base_url=llamacpp_rerank.base_url, api_key=llamacpp_rerank.api_key) as api:
        body = {"model": llamacpp_rerank.model, "query": "green river", "documents": documents}
        answer: Any = api.post("/rerank", cast_to=object, body=body)
    expected = sorted(answer["results"], key=lambda item: -item["relevance_score"])
    scores, tokens = make("rerank", serve(office, llamacpp_rerank, "rerank")).similarity("green river", documents)
    order = sorted(range(3), key=lambda position: -scores[position])
    assert order == [item["index"] for item in expected]
    assert tokens > 0
