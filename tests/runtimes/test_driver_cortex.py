"""Cortex, over a fake that answers as its source says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers.errors import BadRequest, ModelNotFound, ServerFailed, UpstreamError
from runtimes.drivers.cortex import DRIVER, LOOK_EACH_S
from runtimes.drivers.steps import Pause, Stopped
from tests.runtimes.fakes.cortex import FakeCortex
from tests.runtimes.fakes.server import says
from tests.runtimes.playing import answer, play
from tests.runtimes.running import Ran, run


@pytest.fixture
def runtime() -> Iterator[FakeCortex]:
    with FakeCortex() as fake:
        yield fake


def do(steps: Any, fake: FakeCortex, **more: Any) -> Ran[Any]:
    return run(steps, fake.url, type="cortex", **more)


def fail(kind: type[UpstreamError], steps: Any, fake: FakeCortex) -> UpstreamError:
    with pytest.raises(kind) as caught:
        do(steps, fake)
    return caught.value


def load(name: str) -> Any:
    return DRIVER.load(name, detail={}, options={})


def install(name: str) -> Any:
    return DRIVER.install(name, remembered={}, options={})


def test_only_what_was_downloaded_is_listed_and_what_runs_is_loaded(runtime: FakeCortex) -> None:
    do(DRIVER.ping(), runtime)
    (one,) = do(DRIVER.models(), runtime).result
    assert (one.name, one.state, one.max_tokens, one.size_bytes) == ("tinyllama:1b", "not loaded", 4096, 620_000)
    assert (one.is_gguf, one.file_path) == (True, "/cortexcpp/models/tinyllama:1b/model.gguf")
    do(load("tinyllama:1b"), runtime)
    do(load("tinyllama:1b"), runtime)
    assert len(runtime.asked("POST", "/v1/models/start")) == 1
    assert do(DRIVER.models(), runtime).result[0].state == "loaded"
    runtime.behave("GET", "/inferences/server/models", says(404, b"not found", "text/plain"))
    assert do(DRIVER.models(), runtime).result[0].state == "not loaded"


def test_models_are_unloaded_imported_and_deleted(runtime: FakeCortex) -> None:
    do(load("tinyllama:1b"), runtime)
    do(DRIVER.unload("tinyllama:1b", detail={}), runtime)
    do(DRIVER.unload("tinyllama:1b", detail={}), runtime)
    assert len(runtime.asked("POST", "/v1/models/stop")) == 1
    do(DRIVER.import_("mine", "/a/mine.gguf", remembered={}, options={}), runtime)
    assert runtime.asked("POST", "/v1/models/import")[0].json == {
        "model": "mine",
        "modelPath": "/a/mine.gguf",
        "option": "symlink",
    }
    assert (
        "already exists"
        in fail(BadRequest, DRIVER.import_("mine", "/a", remembered={}, options={"copy": True}), runtime).detail
    )
    do(DRIVER.delete("mine", detail={}), runtime)
    fail(ModelNotFound, DRIVER.delete("mine", detail={}), runtime)
    fail(ModelNotFound, load("mine"), runtime)


def test_a_download_is_over_when_its_model_is_in_the_list(runtime: FakeCortex) -> None:
    told = do(install("llama3.2:3b"), runtime)
    assert (told.progress[0].total_bytes, told.remembered) == (1000, [{"task": "llama3.2:3b"}])
    assert "llama3.2:3b" in runtime.downloaded
    do(install("llama3.2:3b"), runtime)
    assert len(runtime.asked("POST", "/v1/models/pull")) == 1
    fail(ModelNotFound, install("nothing:1b"), runtime)


def test_a_name_without_its_branch_is_refused_before_anything_is_sent() -> None:
    assert isinstance(play(install("llama3.2"), []).error, BadRequest)


def test_a_download_that_is_called_off_is_stopped_at_the_runtime(runtime: FakeCortex) -> None:
    runtime.looks = 1000
    assert do(install("llama3.2:3b"), runtime, stop_at=lambda told: True).stopped
    assert runtime.downloading == {}


def test_a_load_that_is_called_off_is_stopped() -> None:
    script = [
        (("GET", "/v1/models/status/a"), answer({"message": "no"}, status=400)),
        (("POST", "/v1/models/start", {"model": "a"}), Stopped()),
        (("POST", "/v1/models/stop", {"model": "a"}), answer({"message": "Stopped successfully!"})),
    ]
    assert isinstance(play(load("a"), script).error, Stopped)


def test_a_download_that_never_comes_is_given_up() -> None:
    nothing = (("GET", "/v1/models"), answer({"data": []}))
    looks = 6 * 3600 // round(LOOK_EACH_S)
    script = [nothing, (("POST", "/v1/models/pull"), answer({"task": {"id": "a:b"}})), *[nothing] * looks]
    told = play(install("a:b"), script)
    assert isinstance(told.error, ServerFailed)
    assert len({one.message for one in told.progress}) == len(told.progress)
    assert told.paused_s == Pause(6 * 3600.0).seconds
