"""LM Studio's driver: over a fake that speaks its documented API, and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    ModelNotFound,
    ServerFailed,
    Unsupported,
    UpstreamError,
)
from runtimes.drivers.lmstudio import DRIVER
from runtimes.drivers.steps import Steps
from tests.runtimes.fakes.lmstudio import FakeLMStudio, Model
from tests.runtimes.fakes.server import says
from tests.runtimes.playing import ANYTHING, Exchange, answer, play
from tests.runtimes.running import run

DOWNLOAD = ("POST", "/api/v1/models/download")
STATUS = "/api/v1/models/download/status/"


@pytest.fixture
def runtime() -> Iterator[FakeLMStudio]:
    with FakeLMStudio() as one:
        yield one


def install(name: str, **remembered: Any) -> Steps[None]:
    return DRIVER.install(name, remembered=remembered, options={})


def load(name: str = "qwen/qwen3-4b", **options: Any) -> Steps[None]:
    return DRIVER.load(name, detail={}, options=options)


def test_models_are_listed_with_their_instances(runtime: FakeLMStudio) -> None:
    runtime.models[0].instances = ["qwen/qwen3-4b", "qwen/qwen3-4b:2"]
    runtime.models.append(Model("sees", vision=True))
    seen = run(DRIVER.ping(), runtime.url).result
    assert seen is not None
    assert seen.capabilities == {}
    chat, embeds, sees = run(DRIVER.models(), runtime.url).result or []
    assert (chat.name, chat.state, chat.type, chat.model_types) == ("qwen/qwen3-4b", "loaded", "llm", ("chat",))
    assert (chat.parameters, chat.max_tokens, chat.quantization) == (4_000_000_000, 32_768, "Q4_K_M")
    assert (chat.is_gguf, chat.is_mlx, chat.tooling, chat.publisher) == (True, False, True, "qwen")
    assert chat.detail["instances"] == ["qwen/qwen3-4b", "qwen/qwen3-4b:2"]
    assert (embeds.state, embeds.type, embeds.model_types) == ("not loaded", "embeddings", ("embedding",))
    assert (sees.type, sees.model_types) == ("vlm", ("chat", "image2text"))


def test_before_0_4_models_are_only_listed() -> None:
    with FakeLMStudio(old=True) as runtime:
        runtime.models[0].instances = ["qwen/qwen3-4b"]
        seen = run(DRIVER.ping(), runtime.url).result
        assert seen is not None
        assert seen.capabilities["install_model"] is seen.capabilities["load_model"] is False
        chat, embeds = run(DRIVER.models(), runtime.url).result or []
        assert (chat.state, chat.is_mlx, chat.tooling) == ("loaded", True, True)
        assert (embeds.state, embeds.type) == ("not loaded", "embeddings")
        for steps in (install("google/gemma-3"), load(), DRIVER.unload("qwen/qwen3-4b", detail={})):
            with pytest.raises(Unsupported, match="older than"):
                run(steps, runtime.url)
        runtime.behave("GET", "/api/v1/models", says(404, "Not Found", "text/plain"))
        assert run(DRIVER.models(), runtime.url).result


def test_something_else_on_its_port_is_not_taken_for_it(runtime: FakeLMStudio) -> None:
    runtime.behave("GET", "/api/v1/models", says(200, '{"hello":1}'))
    runtime.behave("GET", "/api/v0/models", says(200, '{"hello":1}'))
    with pytest.raises(BadReply, match="neither"):
        run(DRIVER.ping(), runtime.url)


def test_a_wrong_token_is_told() -> None:
    with FakeLMStudio(key="lm-right") as runtime:
        with pytest.raises(AuthenticationFailed):
            run(DRIVER.ping(), runtime.url, key="lm-wrong-0123")
        run(DRIVER.ping(), runtime.url, key="lm-right")


def test_a_model_is_installed_with_progress_in_bytes(runtime: FakeLMStudio) -> None:
    ran = run(install("google/gemma-3"), runtime.url)
    assert [(told.done_bytes, told.total_bytes) for told in ran.progress] == [
        (0, 30000),
        (15000, 30000),
        (30000, 30000),
    ]
    assert ran.remembered == [{"job_id": "job_0000000000"}]
    assert run(install("google/gemma-3"), runtime.url).progress == [], "it is there already"


def test_a_download_that_was_begun_is_watched_not_begun_again(runtime: FakeLMStudio) -> None:
    begun = run(install("google/gemma-3"), runtime.url, stop_at=lambda told: True)
    assert begun.stopped
    run(install("google/gemma-3", **begun.remembered[0]), runtime.url)
    assert len(runtime.asked(*DOWNLOAD)) == 1
    run(install("https://huggingface.co/me/Mine-GGUF", job_id="job_gone"), runtime.url)
    assert len(runtime.asked(*DOWNLOAD)) == 2, "a job that is not known any more is begun anew"


def test_what_is_of_hugging_face_is_asked_for_by_its_link(runtime: FakeLMStudio) -> None:
    run(install("hf.co/me/Mine-GGUF:Q8_0"), runtime.url)
    assert runtime.asked(*DOWNLOAD)[0].json == {"model": "https://huggingface.co/me/Mine-GGUF", "quantization": "Q8_0"}
    with pytest.raises(BadRequest, match="whole repository"):
        run(install("https://huggingface.co/me/Mine-GGUF/resolve/main/x.gguf"), runtime.url)


def test_a_download_that_fails_is_worth_another_try(runtime: FakeLMStudio) -> None:
    runtime.fails = True
    with pytest.raises(ServerFailed, match="could not download"):
        run(install("google/gemma-3"), runtime.url)
    runtime.fails = False
    run(install("google/gemma-3", job_id="job_0000000000"), runtime.url)
    with pytest.raises(ModelNotFound):
        run(install("no/such"), runtime.url)


def test_a_model_is_loaded_once_and_all_its_instances_unloaded(runtime: FakeLMStudio) -> None:
    run(load(context_length=8192, keep_alive="5m"), runtime.url)
    run(load(), runtime.url)
    (sent,) = runtime.asked("POST", "/api/v1/models/load")
    assert sent.json == {"model": "qwen/qwen3-4b", "context_length": 8192}
    runtime.models[0].instances.append("qwen/qwen3-4b:2")
    run(DRIVER.unload("qwen/qwen3-4b", detail={"instances": ["stale"]}), runtime.url)
    assert runtime.models[0].instances == []
    ids = [one.json["instance_id"] for one in runtime.asked("POST", "/api/v1/models/unload")]
    assert ids == ["qwen/qwen3-4b", "qwen/qwen3-4b:2"]
    run(DRIVER.unload("qwen/qwen3-4b", detail={}), runtime.url)


def test_a_load_that_fails_says_why(runtime: FakeLMStudio) -> None:
    runtime.breaks = True
    with pytest.raises(UpstreamError, match="insufficient memory"):
        run(load(), runtime.url)
    for steps in (load("no/such"), DRIVER.unload("no/such", detail={})):
        with pytest.raises(ModelNotFound):
            run(steps, runtime.url)


def test_what_it_cannot_do_is_refused_before_anything_is_sent() -> None:
    for verb in ("delete", "import", "update"):
        assert not DRIVER.can(verb)
    with pytest.raises(BadRequest, match="cannot delete"):
        DRIVER.delete("x", detail={})
    with pytest.raises(BadRequest, match="cannot import"):
        DRIVER.import_("x", "y", remembered={}, options={})


def test_a_paused_download_is_waited_for() -> None:
    job = {"job_id": "job_1", "total_size_bytes": 10, "downloaded_bytes": 5}
    script: list[Exchange] = [
        (DOWNLOAD, answer({**job, "status": "paused"})),
        (("GET", f"{STATUS}job_1"), answer({**job, "status": "completed"})),
    ]
    told = play(install("a/b"), script)
    told.get()
    assert told.paused_s == 10.0
    assert [one.message for one in told.progress] == ["paused", "completed"]


FIELDS = ["key", "id", "type", "capabilities", "loaded_instances", "quantization", "format", "params_string", "state"]
ENTRY = st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.sampled_from(["llm", "embedding"])) | ANYTHING


@given(st.lists(ENTRY, max_size=3), st.booleans())
def test_no_list_whatever_it_holds_breaks_the_driver(listed: list[Any], old: bool) -> None:
    first = answer({"error": "Unexpected endpoint"}) if old else answer({"models": listed})
    script: list[Exchange] = [(("GET", "/api/v1/models"), first)]
    if old:
        script.append((("GET", "/api/v0/models"), answer({"data": listed})))
    assert all(one.name for one in play(DRIVER.models(), script).get())


@given(st.dictionaries(st.sampled_from(["job_id", "status", "total_size_bytes", "downloaded_bytes"]), ANYTHING))
def test_no_status_whatever_it_holds_breaks_an_installation(told: Any) -> None:
    error = play(install("a/b"), [(DOWNLOAD, answer(told))]).error
    assert error is None or isinstance(error, UpstreamError)
