"""The driver of the Mock runtime, against that runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from providers.errors import BadReply, BadRequest, ModelNotFound, ServerFailed
from runtimes.drivers import get
from runtimes.drivers.base import CAPABILITIES
from runtimes.drivers.mock import DRIVER
from runtimes.drivers.steps import Next, Step, Stopped
from tests.runtimes.playing import Heard, answer, lines, play
from tests.runtimes.running import run


def test_it_is_installed_and_can_do_all_but_hear() -> None:
    assert get("mock") is DRIVER
    assert set(CAPABILITIES) - DRIVER.capabilities == {"audio"}
    assert DRIVER.in_process
    assert not DRIVER.loads_on_request


def test_an_installation_is_followed_in_bytes() -> None:
    heard = Heard([lines({"status": "downloading", "completed": 5, "total": 10}), lines({"status": "success"})])
    told = play(
        DRIVER.install("a/b", remembered={}, options={"install_steps": 2, "load_steps": 9}),
        [(("POST", "/api/install", {"model": "a/b", "steps": 2}), heard)],
    )
    assert told.get() is None
    assert [(one.done_bytes, one.total_bytes) for one in told.progress] == [(5, 10)]


def test_an_end_without_success_is_an_error() -> None:
    heard = Heard([lines({"status": "downloading", "completed": 5, "total": 10})])
    told = play(DRIVER.update("a", remembered={}, options={}), [(("POST", "/api/update"), heard)])
    assert isinstance(told.error, BadReply)
    heard = Heard([lines({"status": "error", "error": "The download was cancelled."})])
    told = play(DRIVER.update("a", remembered={}, options={}), [(("POST", "/api/update"), heard)])
    assert isinstance(told.error, ServerFailed)


def test_a_stop_calls_the_runtime_off() -> None:
    def stop(step: Step) -> Exception | None:
        return Stopped() if isinstance(step, Next) else None

    script = [
        (("POST", "/api/install"), Heard([lines({"status": "downloading", "completed": 5, "total": 10})])),
        (("POST", "/api/cancel", {"model": "a"}), answer({"cancelled": True})),
    ]
    told = play(DRIVER.install("a", remembered={}, options={}), script, stop_when=stop)
    assert isinstance(told.error, Stopped)


def test_a_model_that_is_not_there_is_none_and_cannot_be_deleted() -> None:
    gone = answer({"error": {"message": "The model “a” does not exist.", "code": "model_not_found"}}, status=404)
    assert play(DRIVER.model("a/b"), [(("GET", "/api/models/a%2Fb"), gone)]).get() is None
    told = play(DRIVER.delete("a", detail={}), [(("DELETE", "/api/models/a"), gone)])
    assert isinstance(told.error, ModelNotFound)


@pytest.mark.parametrize("name", ["", " a", "a\nb", ".."])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(name: str) -> None:
    assert isinstance(play(DRIVER.delete(name, detail={}), []).error, BadRequest)


# Against the runtime itself, which is inside this process.


@pytest.fixture
def data_dir(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


HERE: dict[str, Any] = {"url": "inproc://mock", "type": "mock"}
AT_ONCE = {"install_step_delay_s": 0, "load_step_delay_s": 0}


@pytest.mark.usefixtures("data_dir")
def test_a_model_lives_its_whole_life() -> None:
    presence = run(DRIVER.ping(), **HERE).result
    assert presence is not None
    assert presence.version == "1.0"
    told = run(DRIVER.install("org/new-3b", remembered={}, options=AT_ONCE), **HERE)
    done = [one.done_bytes for one in told.progress]
    assert (done[0], done[-1]) == (0, told.progress[-1].total_bytes)
    run(DRIVER.load("org/new-3b", detail={}, options=AT_ONCE), **HERE)
    one = run(DRIVER.model("org/new-3b"), **HERE).result
    assert one is not None
    assert (one.state, one.type, one.parameters, one.model_types) == ("loaded", "llm", 3_000_000_000, ("chat",))
    run(DRIVER.unload("org/new-3b", detail={}), **HERE)
    run(DRIVER.update("org/new-3b", remembered={}, options=AT_ONCE), **HERE)
    run(DRIVER.delete("org/new-3b", detail={}), **HERE)
    run(DRIVER.import_("org/new-3b", "/a/file.gguf", remembered={}, options={}), **HERE)
    models = run(DRIVER.models(), **HERE).result
    assert models is not None
    assert {one.name: one.state for one in models}["org/new-3b"] == "not loaded"


@pytest.mark.usefixtures("data_dir")
def test_what_was_fetched_before_a_stop_or_a_failure_is_not_fetched_again() -> None:
    slowly = {"install_steps": 1000, "install_step_delay_s": 0.01}
    told = run(
        DRIVER.install("new-1b", remembered={}, options=slowly),
        stop_at=lambda told: bool(told.done_bytes),
        **HERE,
    )
    assert told.stopped
    (before,) = (one.done_bytes for one in told.progress[-1:])
    again = run(DRIVER.install("new-1b", remembered=told.remembered[0], options=AT_ONCE), **HERE)
    assert (again.progress[0].done_bytes or 0) >= (before or 0) > 0
    with pytest.raises(BadReply):
        run(DRIVER.install("flaky-1b", remembered={}, options=AT_ONCE), **HERE)
    run(DRIVER.install("flaky-1b", remembered={}, options=AT_ONCE), **HERE)
    with pytest.raises(ModelNotFound):
        run(DRIVER.install("missing-1b", remembered={}, options=AT_ONCE), **HERE)
