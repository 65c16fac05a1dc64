"""LocalAI's driver: over a fake that speaks its documented API, and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import (
    BadReply,
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ServerFailed,
    Unreachable,
    Unsupported,
    UpstreamError,
)
from runtimes.drivers.localai import DRIVER
from runtimes.drivers.steps import Pause, Steps, Stopped
from tests.runtimes.fakes.localai import FakeLocalAI
from tests.runtimes.fakes.server import says
from tests.runtimes.playing import ANYTHING, Exchange, answer, play
from tests.runtimes.running import run


@pytest.fixture
def runtime() -> Iterator[FakeLocalAI]:
    with FakeLocalAI() as one:
        yield one


def install(name: str = "localai@qwen3", options: dict[str, Any] | None = None, **remembered: Any) -> Steps[None]:
    return DRIVER.install(name, remembered=remembered, options=options or {})


def load(name: str = "phi-4") -> Steps[None]:
    return DRIVER.load(name, detail={}, options={})


def test_it_is_up_once_it_is_ready(runtime: FakeLocalAI) -> None:
    seen = run(DRIVER.ping(), runtime.url).result
    assert seen is not None
    assert seen.version == "v3.9.0 (0c8bba1f)"
    runtime.starting = True
    with pytest.raises(Overloaded):
        run(DRIVER.ping(), runtime.url)
    runtime.behave("GET", "/readyz", says(404, "Not Found", "text/plain"))
    runtime.behave("GET", "/version", says(401, "", "text/plain"))
    seen = run(DRIVER.ping(), runtime.url).result
    assert seen is not None
    assert seen.version == ""


def test_models_are_listed_with_what_they_are_for(runtime: FakeLocalAI) -> None:
    runtime.loaded = {"phi-4"}
    runtime.models |= {"whisper": ["transcript"], "voice": ["tts"], "ranks": ["rerank"], "odd": []}
    found = {one.name: one for one in run(DRIVER.models(), runtime.url).result or []}
    phi = found["phi-4"]
    assert (phi.state, phi.type, phi.model_types, phi.max_tokens) == ("loaded", "vlm", ("chat", "image2text"), 8192)
    assert found["bert embeddings"].state == "not loaded"
    assert [found[name].type for name in ("bert embeddings", "whisper", "voice", "ranks", "odd")] == [
        "embeddings",
        "audio",
        "audio",
        "rerank",
        "unknown",
    ]
    assert [found[name].model_types for name in ("whisper", "voice", "ranks")] == [
        ("speech2text",),
        ("tts",),
        ("rerank",),
    ]


def test_an_old_one_and_a_key_that_is_no_administrators_tell_less() -> None:
    with FakeLocalAI(old=True, is_admin=False) as runtime:
        found = run(DRIVER.models(), runtime.url).result or []
        assert [(one.name, one.state, one.model_types) for one in found] == [
            ("phi-4", "unknown", ()),
            ("bert embeddings", "unknown", ()),
        ]


def test_a_model_is_installed_from_a_gallery_with_progress_in_bytes(runtime: FakeLocalAI) -> None:
    ran = run(install(options={"overrides": {"f16": True}, "keep_alive": "5m"}), runtime.url)
    assert [(told.done_bytes, told.total_bytes) for told in ran.progress] == [(15_000, 40_000), (30_000, 40_000)]
    assert ran.progress[0].message == "downloading"
    assert runtime.asked("POST", "/models/apply")[0].json == {"id": "localai@qwen3", "overrides": {"f16": True}}
    assert "qwen3" in runtime.models
    assert ran.remembered == [{"job": next(iter(runtime.jobs))}]


def test_an_old_one_tells_of_progress_as_a_share() -> None:
    with FakeLocalAI(old=True) as runtime:
        ran = run(install(), runtime.url)
        assert [(told.fraction, told.done_bytes) for told in ran.progress] == [(0.375, None), (0.75, None)]


@pytest.mark.parametrize("name", ["ollama://llama3.2:1b", "hf://me/Mine-GGUF", "https://example.com/x.gguf"])
def test_a_model_is_installed_from_an_address(runtime: FakeLocalAI, name: str) -> None:
    run(install(name), runtime.url)
    assert runtime.asked("POST", "/models/import-uri")[0].json == {"uri": name}


def test_a_model_is_imported_under_a_name(runtime: FakeLocalAI) -> None:
    steps = DRIVER.import_("mine", "/models/x.gguf", remembered={}, options={"preferences": {"backend": "llama-cpp"}})
    run(steps, runtime.url)
    sent = runtime.asked("POST", "/models/import-uri")[0].json
    assert sent == {"uri": "/models/x.gguf", "preferences": {"backend": "llama-cpp", "name": "mine"}}
    assert "mine" in runtime.models
    with pytest.raises(BadRequest, match="nothing to import"):
        run(DRIVER.import_("mine", " ", remembered={}, options={}), runtime.url)


def test_cancelling_cancels_at_the_runtime_and_a_new_attempt_goes_on(runtime: FakeLocalAI) -> None:
    begun = run(install(), runtime.url, stop_at=lambda told: bool(told.done_bytes))
    assert begun.stopped
    job = begun.remembered[0]["job"]
    assert runtime.jobs[job]["cancelled"]
    assert runtime.asked("POST", f"/api/operations/{job}/cancel")
    again = run(install(job=job), runtime.url)
    assert len(runtime.asked("POST", "/models/apply")) == 2
    assert again.progress[0].done_bytes == 30_000, "what had come was kept"


def test_a_job_that_goes_on_since_an_earlier_attempt_is_watched(runtime: FakeLocalAI) -> None:
    runtime.late_looks = 0
    runtime._begin("localai@qwen3", "qwen3", id="job-1")
    run(install(job="job-1"), runtime.url)
    assert runtime.asked("POST", "/models/apply") == []
    assert "qwen3" in runtime.models


@pytest.mark.parametrize("old", [False, True])
def test_a_job_that_fails_says_why(old: bool) -> None:
    with FakeLocalAI(old=old, fails_with="unexpected EOF") as runtime:
        with pytest.raises(ServerFailed, match="unexpected EOF") as caught:
            run(install(), runtime.url)
        assert caught.value.retry
        runtime.fails_with = ""
        with pytest.raises(ModelNotFound, match="No gallery"):
            run(install("localai@nope"), runtime.url)


def test_a_job_cancelled_at_the_runtime_is_not_begun_again_by_itself(runtime: FakeLocalAI) -> None:
    told = {"processed": True, "cancelled": True, "error": ""}
    script: list[Exchange] = [
        (("POST", "/models/apply"), answer({"uuid": "1", "status": ""})),
        (("GET", "/models/jobs/1"), answer(told)),
    ]
    error = play(install(), script).error
    assert type(error) is GenericUpstreamError
    assert not error.retry


def test_a_job_that_is_forgotten_is_decided_by_the_list(runtime: FakeLocalAI) -> None:
    unknown = answer({"error": {"code": 500, "message": "could not find any status for ID", "type": ""}}, status=500)
    begun: list[Exchange] = [(("POST", "/models/apply"), answer({"uuid": "1", "status": ""}))]
    begun += [(("GET", "/models/jobs/1"), unknown)] * 10
    there: Exchange = (("GET", "/v1/models"), answer({"data": [{"id": "qwen3"}]}))
    told = play(install(), [*begun, there])
    told.get()
    assert told.paused_s == 9.0
    gone: Exchange = (("GET", "/v1/models"), answer({"data": []}))
    error = play(install(), [*begun, gone]).error
    assert isinstance(error, ServerFailed)
    assert error.retry


@pytest.mark.parametrize(
    ("name", "old"),
    [("bert embeddings", False), ("me/mine:Q4_K_M", False), ("50%", False), ("phi-4", False), ("me/mine 2", True)],
)
def test_a_model_of_any_name_is_deleted(name: str, old: bool) -> None:
    with FakeLocalAI(old=old, models={name: ["chat"], "other": ["chat"]}, late_looks=0) as runtime:
        run(DRIVER.delete(name, detail={}), runtime.url)
        assert set(runtime.models) == {"other"}
        with pytest.raises(ModelNotFound):
            run(DRIVER.delete(name, detail={}), runtime.url)


def test_names_are_encoded_in_paths(runtime: FakeLocalAI) -> None:
    runtime.models = {"me/mine 2:Q4": ["chat"]}
    run(DRIVER.delete("me/mine 2:Q4", detail={}), runtime.url)
    assert runtime.asked("POST", "/models/delete/me%2Fmine%202%3AQ4")
    for name in (".", "..", "a\nb"):
        told = play(DRIVER.delete(name, detail={}), [(("GET", "/v1/models"), answer({"data": []}))] * (name != "a\nb"))
        assert isinstance(told.error, ModelNotFound | BadRequest)


def test_a_model_is_loaded_and_unloaded(runtime: FakeLocalAI) -> None:
    run(load(), runtime.url)
    assert runtime.loaded == {"phi-4"}
    run(DRIVER.unload("phi-4", detail={}), runtime.url)
    run(DRIVER.unload("phi-4", detail={}), runtime.url)
    assert runtime.loaded == set()
    assert len(runtime.asked("POST", "/backend/shutdown")) == 1
    for steps in (load("nope"), DRIVER.unload("nope", detail={})):
        with pytest.raises(ModelNotFound):
            run(steps, runtime.url)
    runtime.breaks = True
    with pytest.raises(ServerFailed, match="out of memory"):
        run(load(), runtime.url)


def test_an_old_one_cannot_load_without_a_call() -> None:
    with FakeLocalAI(old=True) as runtime, pytest.raises(Unsupported, match="only when it is called"):
        run(load(), runtime.url)


def test_keys_that_may_not_manage_are_told(runtime: FakeLocalAI) -> None:
    runtime.behave("POST", "/models/apply", says(403, '{"error":{"code":403,"message":"admin access required"}}'))
    with pytest.raises(PermissionDenied):
        run(install(), runtime.url)


def test_an_answer_without_an_id_is_no_job(runtime: FakeLocalAI) -> None:
    told = play(install(), [(("POST", "/models/apply"), answer({"status": "x"}))])
    assert isinstance(told.error, BadReply)


def test_stopping_calls_off_what_was_begun_and_nothing_else() -> None:
    def at_once(step: object) -> Exception | None:
        return Stopped() if isinstance(step, Pause) else None

    script: list[Exchange] = [
        (("POST", "/models/apply"), answer({"uuid": "1", "status": ""})),
        (("GET", "/models/jobs/1"), answer({"processed": False})),
        (("POST", "/api/operations/1/cancel"), answer({"success": True})),
    ]
    assert isinstance(play(install(), script, stop_when=at_once).error, Stopped)
    first = play(install(), [], stop_when=lambda step: Stopped())
    assert isinstance(first.error, Stopped)
    dead: list[Exchange] = [*script[:2], (script[2][0], Unreachable())]
    assert isinstance(play(install(), dead, stop_when=at_once).error, Unreachable)


TOLD = st.dictionaries(
    st.sampled_from(
        ["error", "processed", "message", "progress", "current_bytes", "total_bytes", "cancelled", "phase"]
    ),
    ANYTHING,
)


@given(TOLD)
def test_no_job_whatever_it_says_breaks_the_driver(told: Any) -> None:
    steps = install()
    value: Any = None
    try:
        for _ in range(20):
            step = steps.send(value)
            path = getattr(step, "path", "")
            value = answer(told) if "/jobs/" in path else answer({"uuid": "1"}) if path else None
    except (UpstreamError, StopIteration):
        pass


@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "capabilities", "context_size"]), ANYTHING) | ANYTHING), ANYTHING
)
def test_no_list_whatever_it_holds_breaks_the_driver(listed: Any, loaded: Any) -> None:
    script: list[Exchange] = [
        (("GET", "/v1/models/capabilities"), answer({"data": listed})),
        (("GET", "/system"), answer({"loaded_models": loaded})),
    ]
    assert all(one.name for one in play(DRIVER.models(), script).get())
