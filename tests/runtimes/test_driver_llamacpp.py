"""llama.cpp's driver over a fake: the same as over the real one, and what that cannot be made to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import (
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    ServerFailed,
    TimedOut,
    Unreachable,
    Unsupported,
    UpstreamError,
)
from runtimes.drivers._pieces import JSONEvents
from runtimes.drivers.llamacpp import DRIVER
from runtimes.drivers.steps import Progress, Steps, Stopped
from tests.runtimes.fakes.llamacpp import FakeLlamaCpp, Model
from tests.runtimes.fakes.server import hang
from tests.runtimes.playing import ANYTHING, Exchange, Heard, answer, cut, events, play
from tests.runtimes.running import Ran, run

T = TypeVar("T")


@pytest.fixture
def router() -> Iterator[FakeLlamaCpp]:
    with FakeLlamaCpp() as one:
        yield one


def on(runtime: FakeLlamaCpp, steps: Steps[T], stop_at: Callable[[Progress], bool] = lambda told: False) -> Ran[T]:
    return run(steps, runtime.url, type="llamacpp", stop_at=stop_at)


def install(name: str = "me/tiny") -> Steps[None]:
    return DRIVER.install(name, remembered={}, options={})


def load(name: str = "tiny") -> Steps[None]:
    return DRIVER.load(name, detail={}, options={})


def test_a_router_has_all_and_a_single_model_is_not_managed(router: FakeLlamaCpp) -> None:
    seen = on(router, DRIVER.ping()).result
    assert seen is not None
    assert (seen.version, seen.capabilities) == ("b9000-abc", {})
    with FakeLlamaCpp(single=True, models=[Model("tiny")]) as single:
        seen = on(single, DRIVER.ping()).result
        assert seen is not None
        assert {name for name, has in seen.capabilities.items() if has} == {"vision", "tools"}
        assert set(seen.capabilities) <= {*DRIVER.capabilities}
        (model,) = on(single, DRIVER.models()).result or []
        assert (model.state, model.type, model.tooling, model.max_tokens) == ("loaded", "vlm", True, 512)
        for steps in (load(), install("tiny"), install(), DRIVER.unload("tiny", detail={})):
            with pytest.raises(Unsupported):
                on(single, steps)
        assert {one.method for one in single.requests} == {"GET"}


def test_a_server_that_still_loads_its_model_is_not_up_yet() -> None:
    with FakeLlamaCpp(single=True, loading=True) as single, pytest.raises(Overloaded, match="Loading model"):
        on(single, DRIVER.ping())


def test_states_and_kinds_are_read_from_the_list(router: FakeLlamaCpp) -> None:
    router.models = [
        Model("a", "loaded", arguments=("--embeddings",)),
        Model("b", "sleeping", inputs=("text", "image")),
        Model("c", "loading", arguments=("--reranking",)),
        Model("d", exit_code=9),
        Model("me/e:Q4_K_M", "downloading", of_cache=True),
        Model("f", "odd"),
    ]
    found = on(router, DRIVER.models()).result or []
    assert [one.state for one in found] == ["loaded", "loaded", "loading", "error", "downloading", "unknown"]
    assert [one.type for one in found[:4]] == ["embeddings", "vlm", "rerank", "unknown"]
    assert [one.model_types for one in found[:3]] == [("embedding",), ("chat", "image2text"), ("rerank",)]
    assert found[3].detail["exit_code"] == 9
    assert (found[4].publisher, found[4].quantization) == ("me", "Q4_K_M")
    assert found[0].file_path == "/models/a.gguf"


def test_a_load_is_followed_until_it_can_be_called(router: FakeLlamaCpp) -> None:
    ran = on(router, load())
    told = [one.fraction for one in ran.progress]
    assert told == sorted(told, key=float)
    assert told[-1] == 1.0
    assert router.models[0].value == "loaded"
    on(router, load())
    assert len(router.asked("POST", "/models/load")) == 2, "that it runs already is no error"


def test_a_load_without_events_is_followed_by_looking(router: FakeLlamaCpp) -> None:
    router.has_events = False
    on(router, load())
    assert router.models[0].value == "loaded"
    with pytest.raises(GenericUpstreamError, match="could not load"):
        on(router, load("broken"))


def test_a_load_that_fails_says_so(router: FakeLlamaCpp) -> None:
    with pytest.raises(GenericUpstreamError, match="ended with 1") as caught:
        on(router, load("broken"))
    assert not caught.value.retry


def test_a_load_that_is_stopped_is_called_off_unless_it_was_somebody_elses(router: FakeLlamaCpp) -> None:
    router.load_s = 1.0
    assert on(router, load(), stop_at=lambda told: True).stopped
    assert [one.json for one in router.asked("POST", "/models/unload")] == [{"model": "tiny"}]
    assert router.models[0].value == "unloaded"


def test_events_that_break_off_are_listened_to_anew(router: FakeLlamaCpp) -> None:
    router.cuts_events = 2
    on(router, load())
    assert len(router.asked("GET", "/models/sse")) == 2
    router.cuts_events = 3
    on(router, install())
    assert router.find("me/tiny:Q4_K_M") is not None


def test_a_model_is_installed_with_the_bytes_of_all_its_files(router: FakeLlamaCpp) -> None:
    ran = on(router, install())
    told = [one.done_bytes for one in ran.progress if one.done_bytes is not None]
    assert told == sorted(told)
    assert (told[-1], ran.progress[-1].total_bytes) == (50_000, 50_000)
    on(router, install("me/tiny:Q4_K_M"))
    assert len(router.asked("POST", "/models")) == 1, "what is there is not fetched again"


def test_a_download_that_goes_on_since_an_earlier_attempt_is_watched(router: FakeLlamaCpp) -> None:
    router.step_s = 0.8
    router._loop.call_soon_threadsafe(router.begin, "me/tiny")
    end = time.monotonic() + 20
    while router.find("me/tiny") is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    ran = on(router, install())
    assert ran.progress
    assert router.asked("POST", "/models") == []


def test_a_download_without_events_is_followed_by_looking(router: FakeLlamaCpp) -> None:
    router.has_events = False
    on(router, install())
    assert router.find("me/tiny:Q4_K_M") is not None


def test_a_repository_that_does_not_exist_is_not_taken_for_installed(router: FakeLlamaCpp) -> None:
    with pytest.raises(ModelNotFound, match="there is no model"):
        on(router, install("me/nope"))
    with pytest.raises(BadRequest, match="invalid HF repo format"):
        on(router, install("tiny2"))


def test_a_download_that_fails_is_worth_another_try(router: FakeLlamaCpp) -> None:
    router.fails_download = True
    with pytest.raises(ServerFailed):
        on(router, install())


def test_cancelling_calls_the_download_off(router: FakeLlamaCpp) -> None:
    router.step_s = 1.0
    assert on(router, install(), stop_at=lambda told: bool(told.done_bytes)).stopped
    assert [one.json for one in router.asked("POST", "/models/unload")] == [{"model": "me/tiny"}]
    assert router.find("me/tiny") is None
    assert router.wait_for("GET", "/models/sse", closed=True)


def test_to_unload_does_not_cancel_a_download(router: FakeLlamaCpp) -> None:
    router.models.append(Model("me/e:Q8_0", "downloading", of_cache=True))
    with pytest.raises(BadRequest, match="being downloaded"):
        on(router, DRIVER.unload("me/e:Q8_0", detail={}))
    on(router, load())
    on(router, DRIVER.unload("tiny", detail={}))
    on(router, DRIVER.unload("tiny", detail={}))
    assert router.models[0].value == "unloaded"


def test_only_what_was_downloaded_is_deleted(router: FakeLlamaCpp) -> None:
    router.models.append(Model("me/e:Q8_0", of_cache=True))
    on(router, DRIVER.delete("me/e:Q8_0", detail={}))
    assert router.asked("DELETE", "/models")[0].query == {"model": "me/e:Q8_0"}
    with pytest.raises(BadRequest):
        on(router, DRIVER.delete("tiny", detail={}))
    for steps in (DRIVER.delete("nope", detail={}), load("nope"), DRIVER.unload("nope", detail={})):
        with pytest.raises(ModelNotFound):
            on(router, steps)


def test_updates_are_not_known(router: FakeLlamaCpp) -> None:
    with pytest.raises(BadRequest, match="cannot update"):
        DRIVER.update("tiny", remembered={}, options={})
    assert not DRIVER.can("update")


def test_a_hanging_server_times_out(router: FakeLlamaCpp) -> None:
    router.behave("GET", "/health", hang)
    with pytest.raises(TimedOut):
        run(DRIVER.ping(), router.url, type="llamacpp", short_s=2)


# Without a network.

LOADED = answer({"data": [{"id": "tiny", "status": {"value": "loaded"}}]})
LOADING = answer({"data": [{"id": "tiny", "status": {"value": "loading"}}]})
IDLE = answer({"data": [{"id": "tiny", "status": {"value": "unloaded"}}]})
LIST, SSE = ("GET", "/v1/models"), ("GET", "/models/sse")
BEGIN: list[Exchange] = [(("POST", "/models/load", {"model": "tiny"}), answer({"success": True}))]


def test_silence_is_a_reason_to_look_and_to_listen_anew() -> None:
    silence = Heard([], failure=TimedOut(step="body"))
    script: list[Exchange] = [(LIST, IDLE), (SSE, silence), *BEGIN, (LIST, LOADING), (SSE, silence), (LIST, LOADED)]
    play(load(), script).get()


def test_a_server_that_dies_meanwhile_is_unreachable() -> None:
    broken = Heard([], failure=Unreachable(step="body"))
    script: list[Exchange] = [(LIST, IDLE), (SSE, broken), *BEGIN, (LIST, LOADING), (SSE, Unreachable())]
    assert isinstance(play(load(), script).error, Unreachable)


def test_a_load_of_somebody_else_is_not_called_off() -> None:
    running = answer({"error": {"code": 400, "message": "model is already running"}}, status=400)
    script: list[Exchange] = [(LIST, LOADING), (SSE, Heard([])), (("POST", "/models/load"), running), (LIST, LOADING)]
    told = play(load(), script, stop_when=lambda step: Stopped() if not hasattr(step, "path") else None)
    assert isinstance(told.error, Stopped)


def test_a_model_that_is_unloaded_meanwhile_may_be_loaded_again() -> None:
    told_of = events({"model": "tiny", "event": "status_change", "data": {"status": "unloaded", "exit_code": 0}})
    script: list[Exchange] = [(LIST, IDLE), (SSE, Heard([told_of])), *BEGIN, (LIST, LOADING), (LIST, IDLE)]
    error = play(load(), script).error
    assert isinstance(error, ServerFailed)
    assert error.retry


TOLD = events(
    {"model": "other", "event": "status_change", "data": {"status": "loaded"}},
    {"model": "tiny", "event": "status_change", "data": {"status": "loading", "progress": {"value": 0.5}}},
    {"model": "tiny", "event": "status_change", "data": {"status": "loaded"}},
)


@given(st.lists(st.integers(min_value=0, max_value=len(TOLD)), max_size=20))
def test_events_are_the_same_however_their_bytes_are_cut(places: list[int]) -> None:
    script: list[Exchange] = [(LIST, IDLE), (SSE, Heard(cut(TOLD, *places))), *BEGIN, (LIST, LOADING), (LIST, LOADED)]
    told = play(load(), script)
    told.get()
    assert [one.fraction for one in told.progress] == [0.5]


PROGRESS = (
    st.fixed_dictionaries({"progress": st.dictionaries(st.text(max_size=4), ANYTHING, max_size=2) | ANYTHING})
    | ANYTHING
)


@given(st.lists(st.tuples(st.sampled_from(["download_progress", "status_change", "odd"]), PROGRESS), max_size=4))
def test_no_event_whatever_it_holds_breaks_the_driver(told: list[tuple[str, Any]]) -> None:
    heard = Heard([events(*({"model": "a/b", "event": kind, "data": data} for kind, data in told))])
    steps = install("a/b")
    value: Any = None
    feeds = iter([one for chunk in heard.chunks for one in JSONEvents().feed(chunk)])
    try:
        for _ in range(100):
            step = steps.send(value)
            path = getattr(step, "path", "")
            value = answer({"data": []}) if path == "/v1/models" else answer({"success": True}) if path else None
            if type(step).__name__ == "Next":
                value = next(feeds, None)
    except UpstreamError as error:
        assert isinstance(error, ModelNotFound)
