"""GPUStack, over a fake of its management and of its list for inference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers.errors import BadReply, BadRequest, ModelNotFound, ServerFailed, UpstreamError
from runtimes.drivers.gpustack import DRIVER
from tests.runtimes.fakes.gpustack import FakeGPUStack
from tests.runtimes.fakes.server import says
from tests.runtimes.running import Ran, run


@pytest.fixture
def runtime() -> Iterator[FakeGPUStack]:
    with FakeGPUStack() as fake:
        yield fake


def do(steps: Any, fake: FakeGPUStack, **more: Any) -> Ran[Any]:
    return run(steps, fake.url, type="gpustack", **more)


def fail(kind: type[UpstreamError], steps: Any, fake: FakeGPUStack) -> UpstreamError:
    with pytest.raises(kind) as caught:
        do(steps, fake)
    return caught.value


def load(name: str, **options: Any) -> Any:
    return DRIVER.load(name, detail={}, options=options)


def install(name: str, remembered: Any = None, **options: Any) -> Any:
    return DRIVER.install(name, remembered=remembered or {}, options=options)


def test_deployments_are_read_page_by_page_with_their_states(runtime: FakeGPUStack) -> None:
    meta = {"n_ctx": 8192, "n_params": 500_000_000, "support_vision": True, "support_tool_calls": True}
    runtime.put("qwen", replicas=2, ready=1, huggingface_repo_id="Qwen/Qwen", meta=meta)
    runtime.put("bge", replicas=1, categories=["embedding"])
    runtime.put("ranks", categories=["reranker"], source="local_path", local_path="/models/ranks")
    qwen, bge, ranks = do(DRIVER.models(), runtime).result
    assert (qwen.state, qwen.type, qwen.model_types, qwen.publisher) == (
        "loaded",
        "vlm",
        ("chat", "image2text"),
        "Qwen",
    )
    assert (qwen.max_tokens, qwen.parameters, qwen.tooling) == (8192, 500_000_000, True)
    assert (bge.state, bge.model_types) == ("loading", ("embedding",))
    assert (ranks.state, ranks.type, ranks.file_path) == ("not loaded", "rerank", "/models/ranks")
    assert do(DRIVER.ping(), runtime).result.version == "v2.2.3"
    runtime.behave("GET", "/v2/models", says(200, b'{"items": 7}'))
    fail(BadReply, DRIVER.models(), runtime)


def test_a_key_for_inference_sees_what_is_ready_and_manages_nothing(runtime: FakeGPUStack) -> None:
    runtime.put("qwen", replicas=1, ready=1)
    runtime.put("bge")
    runtime.scope = "inference"
    assert [(one.name, one.state) for one in do(DRIVER.models(), runtime).result] == [("qwen", "loaded")]
    assert "management" in fail(BadRequest, DRIVER.unload("qwen", detail={}), runtime).hint


def test_replicas_make_a_model_loaded_or_not(runtime: FakeGPUStack) -> None:
    id = runtime.put("qwen", backend_parameters=["--max-model-len=4096"])
    told = do(load("qwen", replicas=2), runtime)
    assert [one.fraction for one in told.progress] == [0.415]
    assert (runtime.deployed[id]["replicas"], runtime.deployed[id]["ready_replicas"]) == (2, 1)
    assert runtime.deployed[id]["backend_parameters"] == ["--max-model-len=4096"]
    assert "ready_replicas" not in runtime.asked("PUT", f"/v2/models/{id}")[0].json
    do(load("qwen"), runtime)
    do(DRIVER.unload("qwen", detail={}), runtime)
    do(DRIVER.unload("qwen", detail={}), runtime)
    assert len(runtime.asked("PUT", f"/v2/models/{id}")) == 2
    assert do(DRIVER.models(), runtime).result[0].state == "not loaded"
    fail(ModelNotFound, load("another"), runtime)


def test_a_load_that_is_called_off_leaves_no_replica(runtime: FakeGPUStack) -> None:
    id = runtime.put("qwen")
    runtime.looks = 1000
    assert do(load("qwen"), runtime, stop_at=lambda told: True).stopped
    assert runtime.deployed[id]["replicas"] == 0


def test_a_start_that_fails_says_why(runtime: FakeGPUStack) -> None:
    runtime.put("qwen")
    runtime.failing = True
    assert "No GPU is large enough" in str(fail(ServerFailed, load("qwen"), runtime))


def test_an_installation_is_a_deployment_and_goes_on_after_a_death(runtime: FakeGPUStack) -> None:
    told = do(install("Qwen/Qwen2.5:q4.gguf", backend="Custom"), runtime)
    (one,) = runtime.deployed.values()
    assert (one["name"], one["source"], one["huggingface_repo_id"]) == ("Qwen2.5", "huggingface", "Qwen/Qwen2.5")
    assert (one["huggingface_filename"], one["backend"], one["ready_replicas"]) == ("q4.gguf", "Custom", 1)
    do(install("Qwen/Qwen2.5:q4.gguf", told.remembered[0]), runtime)
    assert len(runtime.asked("POST", "/v2/models")) == 1
    assert "already exists" in fail(UpstreamError, install("Qwen/Qwen2.5"), runtime).detail
    do(DRIVER.import_("mine", "/models/mine", remembered={}, options={}), runtime)
    assert runtime.deployed[2]["local_path"] == "/models/mine"
    do(DRIVER.delete("mine", detail={}), runtime)
    assert list(runtime.deployed) == [1]


def test_an_installation_that_is_called_off_is_taken_away(runtime: FakeGPUStack) -> None:
    runtime.looks = 1000
    assert do(install("Qwen/Qwen2.5"), runtime, stop_at=lambda told: True).stopped
    assert runtime.deployed == {}
