"""Xinference, against a fake that answers as version 4.1.0 was seen to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    ModelNotFound,
    ServerFailed,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from runtimes.drivers.base import Described
from runtimes.drivers.steps import Steps
from runtimes.drivers.xinference import DRIVER
from tests.runtimes.fakes.server import hang, hang_up, says
from tests.runtimes.fakes.xinference import FakeXinference, Launched
from tests.runtimes.running import Ran, run

QWEN = "qwen2.5-instruct"


@pytest.fixture
def runtime() -> Iterator[FakeXinference]:
    with FakeXinference() as fake:
        yield fake


def do(steps: Steps[Any], fake: FakeXinference, **more: Any) -> Ran[Any]:
    return run(steps, fake.url, type="xinference", **more)


def fail(kind: type[UpstreamError], steps: Steps[Any], fake: FakeXinference, **more: Any) -> UpstreamError:
    with pytest.raises(kind) as caught:
        do(steps, fake, **more)
    return caught.value


def listed(fake: FakeXinference) -> dict[str, Described]:
    return {one.name: one for one in do(DRIVER.models(), fake).result or []}


def load(name: str = QWEN, detail: Any = None, **options: Any) -> Steps[None]:
    return DRIVER.load(name, detail=detail or {}, options=options)


def install(name: str = QWEN, **options: Any) -> Steps[None]:
    return DRIVER.install(name, remembered={}, options=options)


# Looking


def test_a_look_tells_its_version_where_the_key_may_see_it(runtime: FakeXinference) -> None:
    assert do(DRIVER.ping(), runtime).result.version == "4.1.0"
    runtime.forbidden = True
    assert do(DRIVER.ping(), runtime).result.version == ""


def test_a_wrong_key_is_told_as_one() -> None:
    with FakeXinference(key="sk-right") as runtime:
        error = fail(AuthenticationFailed, DRIVER.ping(), runtime, key="sk-wrong")
        assert "sk-wrong" not in str(error)
        assert do(DRIVER.ping(), runtime, key="sk-right").result is not None


def test_what_runs_what_is_launched_and_what_is_kept_is_listed_once(runtime: FakeXinference) -> None:
    do(load(), runtime)
    runtime.put("llama-3")
    runtime.stuck = True
    body = {"model_name": "bge-m3", "model_type": "embedding"}
    runtime.launched["bge-m3"] = Launched({**body, "model_uid": "bge-m3"}, 5)
    models = listed(runtime)
    assert {name: one.state for name, one in models.items()} == {
        QWEN: "loaded",
        "bge-m3": "loading",
        "llama-3": "not loaded",
    }
    one = models[QWEN]
    assert (one.type, one.model_types, one.tooling, one.max_tokens) == ("llm", ("chat",), True, 2048)
    assert (one.parameters, one.quantization, one.is_gguf, one.runtime_name) == (500_000_000, "q2_k", True, "llama.cpp")
    assert models["llama-3"].file_path == "/cache/v2/llama-3/llama-3.gguf"
    assert models["llama-3"].size_bytes == 622592


def test_what_is_kept_has_the_abilities_of_its_registration(runtime: FakeXinference) -> None:
    runtime.put(QWEN)
    one = listed(runtime)[QWEN]
    assert (one.state, one.model_types, one.tooling, one.max_tokens) == ("not loaded", ("chat",), True, 2048)


def test_several_versions_of_a_model_go_by_their_own_names(runtime: FakeXinference) -> None:
    runtime.put(QWEN, quantization="q2_k")
    runtime.put(QWEN, quantization="q8_0")
    version = f"{QWEN}--0_5B--ggufv2--q8_0"
    models = listed(runtime)
    assert set(models) == {f"{QWEN}--0_5B--ggufv2--q2_k", version}
    do(load(version, models[version].detail, model_engine="llama.cpp"), runtime)
    launched = runtime.launched[version].body
    assert (launched["model_name"], launched["quantization"]) == (QWEN, "q8_0")
    assert {name: one.state for name, one in listed(runtime).items()}[version] == "loaded"


def test_a_key_that_may_not_see_what_is_kept_sees_what_runs(runtime: FakeXinference) -> None:
    do(load(), runtime)
    runtime.forbidden = True
    assert list(listed(runtime)) == [QWEN]


@pytest.mark.parametrize("answer", [b"null", b"[]", b"{}", b"not json", b'{"data": 7}'])
def test_an_answer_that_is_no_list_is_a_bad_reply_or_no_models(runtime: FakeXinference, answer: bytes) -> None:
    runtime.behave("GET", "/v1/models", says(200, answer))
    if answer == b"[]":
        assert listed(runtime) == {}
    else:
        fail(BadReply, DRIVER.models(), runtime)


def test_a_runtime_that_hangs_or_hangs_up_is_given_up(runtime: FakeXinference) -> None:
    runtime.behave("GET", "/v1/models", hang)
    fail(TimedOut, DRIVER.ping(), runtime, short_s=0.3)
    runtime.behave("GET", "/v1/models", hang_up)
    fail(Unreachable, DRIVER.ping(), runtime)


# Loading


def test_a_launch_is_followed_in_bytes_until_it_is_ready(runtime: FakeXinference) -> None:
    told = do(load(), runtime)
    assert [(one.done_bytes, one.total_bytes) for one in told.progress] == [(500, 1000), (1000, 1000)]
    assert runtime.launched[QWEN].status == "READY"
    body = runtime.asked("POST", "/v1/models")[0].json
    assert body == {
        "model_uid": QWEN,
        "model_name": QWEN,
        "model_type": "LLM",
        "model_engine": "llama.cpp",
        "model_format": "ggufv2",
        "model_size_in_billions": "0_5",
        "quantization": "q2_k",
    }


def test_options_and_what_was_listed_decide_what_isLaunched(runtime: FakeXinference) -> None:
    do(load(quantization="q4_k_m", n_gpu=0, enable_virtual_env=False, model_path="/etc/passwd"), runtime)
    body = runtime.asked("POST", "/v1/models")[0].json
    assert (body["quantization"], body["n_gpu"], body["enable_virtual_env"]) == ("q4_k_m", 0, False)
    assert "model_path" not in body
    fail(BadRequest, load("x", {"model_name": QWEN}, quantization="q9"), runtime)


def test_what_runs_already_is_not_launched_again(runtime: FakeXinference) -> None:
    do(load(), runtime)
    do(load(), runtime)
    assert len(runtime.asked("POST", "/v1/models")) == 1
    assert runtime.launched[QWEN].status == "READY"


def test_a_launch_of_somebody_else_is_waited_for(runtime: FakeXinference) -> None:
    body = {"model_uid": QWEN, "model_name": QWEN, "model_type": "LLM"}
    runtime.behave("POST", "/v1/models", says(400, b'{"detail": "Model is already in the model list"}'))
    runtime.launched[QWEN] = Launched(body, 2)
    do(load(), runtime)
    assert not runtime.asked("POST", "/v1/models")


def test_a_launch_that_fails_says_why(runtime: FakeXinference) -> None:
    fail(ModelNotFound, load("no-such-model"), runtime)
    error = fail(ModelNotFound, load("no-such-model", {"model_type": "embedding"}), runtime)
    assert "Model not found, name: no-such-model" in error.detail
    runtime.launched[QWEN] = Launched({"model_name": QWEN, "model_type": "LLM"}, 1)
    runtime.behave("GET", f"/v1/models/{QWEN}/progress", says(500, b'{"detail": "worker is gone"}'))
    runtime.launched[QWEN].status, runtime.launched[QWEN].error = "ERROR", "CUDA out of memory"
    runtime.behave("POST", "/v1/models", says(200, b'{"model_uid": "x"}'))
    assert "CUDA out of memory" in str(fail(ServerFailed, load(), runtime))
    runtime.behave("POST", "/v1/models", says(503, b'{"detail": "No available slot found for the model"}'))
    assert "No available slot" in fail(UpstreamError, load(), runtime).detail


def test_a_launch_that_is_called_off_is_cancelled_at_the_runtime(runtime: FakeXinference) -> None:
    runtime.stuck = True
    told = do(load(), runtime, stop_at=lambda told: True)
    assert told.stopped
    assert runtime.launched[QWEN].status == "TERMINATED"
    assert len(runtime.asked("POST", f"/v1/models/{QWEN}/cancel")) == 1


def test_unloading_ends_what_runs_and_does_not_mind_that_nothing_does(runtime: FakeXinference) -> None:
    do(load(), runtime)
    do(DRIVER.unload(QWEN, detail={}), runtime)
    assert listed(runtime)[QWEN].state == "not loaded"
    do(DRIVER.unload(QWEN, detail={}), runtime)
    runtime.behave("DELETE", f"/v1/models/{QWEN}", says(500, b'{"detail": "worker is gone"}'))
    fail(ServerFailed, DRIVER.unload(QWEN, detail={}), runtime)


# Installing, importing, deleting


def test_an_installation_is_a_launch_that_is_ended_again(runtime: FakeXinference) -> None:
    told = do(install(), runtime)
    assert told.progress
    assert runtime.launched[QWEN].status == "TERMINATED"
    assert listed(runtime)[QWEN].state == "not loaded"
    do(install(), runtime)
    assert len(runtime.asked("POST", "/v1/models")) == 1
    do(install(quantization="q4_k_m", keep_loaded=True), runtime)
    assert runtime.launched[QWEN].status == "READY"


def test_a_file_is_registered_and_can_then_be_loaded(runtime: FakeXinference) -> None:
    steps = DRIVER.import_("mine", "/models/my model.gguf", remembered={}, options={"context_length": 4096})
    do(steps, runtime)
    model = runtime.registered["mine"]["model"]
    assert (model["model_ability"], model["context_length"]) == (["chat"], 4096)
    (spec,) = model["model_specs"]
    assert spec["model_uri"] == "file:///models/my%20model.gguf"
    assert (spec["model_format"], spec["model_file_name_template"]) == ("ggufv2", "my model.gguf")
    one = listed(runtime)["mine"]
    assert (one.state, one.model_types, one.is_gguf) == ("not loaded", ("chat",), True)
    do(load("mine", one.detail), runtime)
    assert runtime.launched["mine"].status == "READY"
    fail(BadRequest, DRIVER.import_("mine", "/a.gguf", remembered={}, options={}), runtime)
    options = {"model_type": "embedding", "dimensions": 4, "max_tokens": 512}
    do(DRIVER.import_("vectors", "hf://org/model", remembered={}, options=options), runtime)
    assert runtime.registered["vectors"]["type"] == "embedding"
    assert runtime.registered["vectors"]["model"]["model_specs"][0]["model_uri"] == "hf://org/model"
    wrong = DRIVER.import_("x", "/a", remembered={}, options={"model_type": "../cache"})
    assert fail(BadRequest, wrong, runtime).step == "build"


def test_deleting_ends_it_and_takes_all_of_it_away(runtime: FakeXinference) -> None:
    do(DRIVER.import_("mine", "/models/mine.gguf", remembered={}, options={}), runtime)
    do(load("mine", listed(runtime)["mine"].detail), runtime)
    do(DRIVER.delete("mine", detail=listed(runtime)["mine"].detail), runtime)
    assert (runtime.cached, runtime.registered) == ([], {})
    assert runtime.launched["mine"].status == "TERMINATED"
    fail(ModelNotFound, DRIVER.delete("mine", detail={}), runtime)


def test_deleting_a_version_leaves_the_others(runtime: FakeXinference) -> None:
    runtime.put(QWEN, quantization="q2_k")
    runtime.put(QWEN, quantization="q8_0")
    name = f"{QWEN}--0_5B--ggufv2--q8_0"
    do(DRIVER.delete(name, detail=listed(runtime)[name].detail), runtime)
    assert [one["quantization"] for one in runtime.cached] == ["q2_k"]


def test_a_yes_to_a_deletion_that_did_not_happen_is_not_believed(runtime: FakeXinference) -> None:
    runtime.put(QWEN)
    runtime.keeps = True
    fail(ServerFailed, DRIVER.delete(QWEN, detail={}), runtime)
