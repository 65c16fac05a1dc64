"""Drivers of services of which little or nothing is managed, over fakes that speak their documented APIs."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    ModelNotFound,
    Overloaded,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from runtimes.drivers import get
from runtimes.drivers.base import Described
from tests.runtimes.fakes.lists import FakeAnthropic, FakeGPT4All, FakeJan, FakeOpenAI, FakeTEI, FakeVLLM
from tests.runtimes.fakes.server import FakeRuntime, hang, hang_up, says
from tests.runtimes.running import run

LISTED: dict[str, tuple[type[FakeRuntime], str]] = {
    "vllm": (FakeVLLM, ""),
    "jan": (FakeJan, "jan-key"),
    "gpt4all": (FakeGPT4All, ""),
    "openai": (FakeOpenAI, "sk-openai"),
    "anthropic": (FakeAnthropic, "sk-ant-right"),
}


def models(type: str, fake: FakeRuntime, key: str = "") -> list[Described]:
    return run(get(type).models(), fake.url, type=type, key=key).result or []


def fail(kind: type[UpstreamError], steps: Any, fake: FakeRuntime, type: str, **more: Any) -> UpstreamError:
    with pytest.raises(kind) as caught:
        run(steps, fake.url, type=type, **more)
    return caught.value


@pytest.mark.parametrize("type", LISTED)
def test_a_list_that_is_none_is_a_bad_reply(type: str) -> None:
    made, key = LISTED[type]
    with made() as fake:
        for body in (b"", b"null", b"<html>", b'{"data": {}}', b'{"error": "no"}'):
            fake.behave("GET", "/v1/models", says(200, body))
            fail(BadReply, get(type).models(), fake, type, key=key)
        fake.behave("GET", "/v1/models", says(200, b'{"data": [7, null, {}, {"id": 7}, {"id": ""}]}'))
        assert models(type, fake, key) == []


@pytest.mark.parametrize("type", LISTED)
def test_a_service_that_hangs_or_hangs_up_or_breaks_is_given_up(type: str) -> None:
    made, key = LISTED[type]
    with made() as fake:
        fake.behave("GET", "/v1/models", hang)
        fail(TimedOut, get(type).ping(), fake, type, key=key, short_s=0.3)
        fake.behave("GET", "/v1/models", hang_up)
        fail(Unreachable, get(type).ping(), fake, type, key=key)
        fake.behave("GET", "/v1/models", says(503, b"try later", "text/plain"))
        fail(Overloaded, get(type).ping(), fake, type, key=key)


# vLLM


def test_vllm_tells_its_version_and_whether_it_can_sleep() -> None:
    with FakeVLLM() as fake:
        presence = run(get("vllm").ping(), fake.url, type="vllm").result
        assert presence is not None
        assert (presence.version, presence.capabilities) == ("0.14.0", {"load_model": False, "unload_model": False})
        fake.sleeps = True
        presence = run(get("vllm").ping(), fake.url, type="vllm").result
        assert presence is not None
        assert presence.capabilities == {"load_model": True, "unload_model": True}
        fake.behave("GET", "/health", says(503, b""))
        fail(Overloaded, get("vllm").ping(), fake, "vllm")


def test_vllms_model_and_its_adapters_are_listed() -> None:
    with FakeVLLM() as fake:
        model, adapter = models("vllm", fake)
        assert (model.name, model.publisher, model.max_tokens, model.state) == ("org/tiny-chat", "org", 32768, "loaded")
        assert (adapter.name, adapter.detail, adapter.file_path) == (
            "my-adapter",
            {"parent": "org/tiny-chat"},
            "/adapters/my",
        )


def test_vllm_sleeps_and_wakes_up() -> None:
    driver = get("vllm")
    with FakeVLLM(sleeps=True) as fake:
        run(driver.unload("org/tiny-chat", detail={}), fake.url, type="vllm")
        run(driver.unload("org/tiny-chat", detail={}), fake.url, type="vllm")
        assert len(fake.asked("POST", "/sleep")) == 1
        assert {one.state for one in models("vllm", fake)} == {"not loaded"}
        run(driver.load("org/tiny-chat", detail={}, options={}), fake.url, type="vllm")
        run(driver.load("org/tiny-chat", detail={}, options={}), fake.url, type="vllm")
        assert len(fake.asked("POST", "/wake_up")) == 1
        assert {one.state for one in models("vllm", fake)} == {"loaded"}
        fail(ModelNotFound, driver.load("another", detail={}, options={}), fake, "vllm")


def test_vllm_without_sleep_mode_is_not_told_to_sleep() -> None:
    with FakeVLLM() as fake:
        error = fail(BadRequest, get("vllm").unload("org/tiny-chat", detail={}), fake, "vllm")
        assert "--enable-sleep-mode" in error.hint
        assert not fake.asked("POST", "/sleep")


# Jan, GPT4All


def test_jan_lists_what_runs_and_its_errors_of_plain_text_are_understood() -> None:
    with FakeJan() as fake:
        (one,) = models("jan", fake, "jan-key")
        assert (one.name, one.state) == ("jan-v1-4b", "loaded")
        error = fail(AuthenticationFailed, get("jan").ping(), fake, "jan", key="wrong-jan-key")
        assert "wrong-jan-key" not in str(error) + error.detail


def test_gpt4alls_names_have_spaces_and_it_says_nothing_of_states() -> None:
    with FakeGPT4All() as fake:
        found = models("gpt4all", fake)
        assert [one.name for one in found] == ["Llama 3 8B Instruct", "Phi-3 Mini Instruct"]
        assert {(one.state, one.streaming, one.model_types) for one in found} == {("unknown", False, ("chat",))}
        named = run(get("gpt4all").model("Phi-3 Mini Instruct"), fake.url, type="gpt4all").result
        assert named is not None
        assert run(get("gpt4all").model("No Such Model"), fake.url, type="gpt4all").result is None
        fake.off = True
        fail(AuthenticationFailed, get("gpt4all").ping(), fake, "gpt4all")


def test_gpt4all_is_asked_for_more_than_sixteen_tokens_and_for_nothing_that_it_refuses() -> None:
    driver = get("gpt4all")
    assert driver.quirks["params"]["default"]["max_tokens"] > 16
    assert "stream_options" in driver.quirks["params"]["drop"]
    assert "streaming" not in driver.capabilities


# Text Embeddings Inference


@pytest.mark.parametrize(
    ("kind", "type", "ours"),
    [("embedding", "embeddings", ("embedding",)), ("reranker", "rerank", ("rerank",)), ("classifier", "unknown", ())],
)
def test_teis_one_model_is_made_up_from_what_it_says_of_itself(kind: str, type: str, ours: tuple[str, ...]) -> None:
    with FakeTEI(kind=kind) as fake:
        (one,) = models("tei", fake)
        assert (one.type, one.model_types, one.max_tokens, one.publisher) == (type, ours, 512, "BAAI")
        presence = run(get("tei").ping(), fake.url, type="tei").result
        assert presence is not None
        assert presence.version == "1.9.3"


def test_tei_that_is_not_ready_is_down() -> None:
    with FakeTEI(ready=False) as fake:
        fail(Overloaded, get("tei").ping(), fake, "tei")


# The clouds


def test_openais_models_are_always_loaded() -> None:
    with FakeOpenAI() as fake:
        found = models("openai", fake, "sk-openai")
        assert [(one.name, one.state, one.publisher) for one in found] == [
            ("gpt-4.1", "loaded", "system"),
            ("text-embedding-3-small", "loaded", "system"),
        ]
        assert found[0].modified_at is not None
        fail(AuthenticationFailed, get("openai").ping(), fake, "openai", key="sk-wrong")


def test_anthropics_list_is_read_page_by_page_with_its_own_headers() -> None:
    with FakeAnthropic() as fake:
        found = models("anthropic", fake, "sk-ant-right")
        assert [one.name for one in found] == list(fake.names)
        assert (found[0].type, found[0].model_types, found[0].max_tokens) == ("vlm", ("chat", "image2text"), 200_000)
        assert (found[1].type, found[1].model_types) == ("unknown", ())
        assert [one.query for one in fake.asked("GET", "/v1/models")] == [
            {"limit": "1000"},
            {"limit": "1000", "after_id": "claude-b"},
            {"limit": "1000", "after_id": "claude-d"},
        ]
        assert run(get("anthropic").ping(), fake.url, type="anthropic", key="sk-ant-right").result is not None
        fail(AuthenticationFailed, get("anthropic").ping(), fake, "anthropic", key="sk-ant-wrong")


def test_a_list_that_never_ends_is_read_for_so_long() -> None:
    with FakeAnthropic(endless=True) as fake:
        assert len(models("anthropic", fake, "sk-ant-right")) == len(fake.names)
        assert len(fake.asked("GET", "/v1/models")) <= 20
