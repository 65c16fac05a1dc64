"""llama.cpp's driver against the real server: one model in this process's child, and the router if its binary is here.

The router wants `LLAMA_SERVER` to name the binary of llama-server, or one on the path. The source that the package
llama-cpp-python carries builds one: `cmake -B out -DBUILD_SHARED_LIBS=OFF && cmake --build out --target llama-server`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    Unreachable,
    Unsupported,
)
from runtimes.drivers.base import Described
from runtimes.drivers.llamacpp import DRIVER
from runtimes.drivers.steps import Progress, Steps
from tests.llamacpp.fixtures import LlamaCpp
from tests.runtimes import llama_router
from tests.runtimes.fakes.hub import FakeHub
from tests.runtimes.llama_router import Router, routing
from tests.runtimes.running import Ran, run

T = TypeVar("T")


def root(server: LlamaCpp) -> str:
    return server.base_url.removesuffix("/v1")


def test_a_single_model_is_seen_as_it_is(llamacpp_chat: LlamaCpp) -> None:
    seen = run(DRIVER.ping(), root(llamacpp_chat), type="llamacpp", key=llamacpp_chat.api_key).result
    assert seen is not None
    assert seen.version
    assert seen.capabilities["install_model"] is seen.capabilities["load_model"] is False
    assert seen.capabilities["vision"] is False
    (model,) = run(DRIVER.models(), root(llamacpp_chat), type="llamacpp", key=llamacpp_chat.api_key).result or []
    assert (model.name, model.state, model.is_gguf) == ("tiny-chat", "loaded", True)
    assert model.parameters
    assert model.size_bytes
    assert model.max_tokens
    assert model.file_path.endswith("tiny-chat.gguf")


def test_a_single_model_is_not_managed(llamacpp_chat: LlamaCpp) -> None:
    for steps in (
        DRIVER.load("tiny-chat", detail={}, options={}),
        DRIVER.unload("tiny-chat", detail={}),
        DRIVER.delete("tiny-chat", detail={}),
        DRIVER.install("me/tiny", remembered={}, options={}),
    ):
        with pytest.raises(Unsupported, match="single model"):
            run(steps, root(llamacpp_chat), type="llamacpp", key=llamacpp_chat.api_key)


def test_a_wrong_key_is_told_from_a_dead_server(llamacpp_chat: LlamaCpp) -> None:
    with pytest.raises(AuthenticationFailed):
        run(DRIVER.ping(), root(llamacpp_chat), type="llamacpp", key="sk-wrong-0123456789")
    with pytest.raises(Unreachable):
        run(DRIVER.ping(), "http://127.0.0.1:9", type="llamacpp")


# The router.

needs_router = pytest.mark.skipif(not llama_router.BINARY, reason="no llama-server: set LLAMA_SERVER")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with FakeHub(chunk_bytes=32 * 1024) as one:
        yield one


@pytest.fixture(scope="module")
def router(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    models = pytest.importorskip("tests.llamacpp.models", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("router")
    file = models.write_chat(folder / "tiny.gguf")
    hub.files["me/tiny"] = {"tiny-Q8_0.gguf": file}
    hub.files["me/untagged"] = {"tiny.gguf": file}
    hub.files["me/slow"] = {"slow-Q8_0.gguf": file}
    with routing(folder, hub.url) as one:
        models.write_embedding(one.models / "embeds.gguf")
        (one.models / "broken.gguf").write_bytes(b"GGUF and nothing")
        yield one


def on(router: Router, steps: Steps[T], stop_at: Callable[[Progress], bool] = lambda told: False) -> Ran[T]:
    return run(steps, router.url, type="llamacpp", key=router.key, stop_at=stop_at)


def listed(router: Router) -> dict[str, Described]:
    return {one.name: one for one in on(router, DRIVER.models()).result or []}


def install(name: str) -> Steps[None]:
    return DRIVER.install(name, remembered={}, options={})


@needs_router
def test_the_router_says_that_it_is_one(router: Router) -> None:
    seen = on(router, DRIVER.ping()).result
    assert seen is not None
    assert seen.version
    assert seen.capabilities == {}


@needs_router
def test_a_file_in_the_folder_is_imported_loaded_and_unloaded(router: Router) -> None:
    on(router, DRIVER.import_("embeds", "embeds.gguf", remembered={}, options={}))
    assert listed(router)["embeds"].state == "not loaded"
    assert listed(router)["embeds"].detail["can_remove"] is False
    ran = on(router, DRIVER.load("embeds", detail={}, options={}))
    assert [told.fraction for told in ran.progress][-1:] in ([1.0], [0.0], [])
    loaded = listed(router)["embeds"]
    assert (loaded.state, loaded.max_tokens, bool(loaded.parameters)) == ("loaded", 512, True)
    on(router, DRIVER.load("embeds", detail={}, options={}))
    on(router, DRIVER.unload("embeds", detail={}))
    assert listed(router)["embeds"].state == "not loaded"
    on(router, DRIVER.unload("embeds", detail={}))


@needs_router
def test_a_file_that_is_not_in_the_folder_is_not_imported(router: Router) -> None:
    with pytest.raises(BadRequest, match="no file of this name"):
        on(router, DRIVER.import_("nowhere", "nowhere.gguf", remembered={}, options={}))


@needs_router
def test_a_broken_file_fails_to_load(router: Router) -> None:
    on(router, DRIVER.import_("broken", "broken.gguf", remembered={}, options={}))
    with pytest.raises(GenericUpstreamError, match=r"could not load .* ended with 1"):
        on(router, DRIVER.load("broken", detail={}, options={}))


@needs_router
def test_what_it_has_not_is_not_found(router: Router) -> None:
    for steps in (
        DRIVER.load("nope", detail={}, options={}),
        DRIVER.unload("nope", detail={}),
        DRIVER.delete("nope", detail={}),
    ):
        with pytest.raises(ModelNotFound):
            on(router, steps)


@needs_router
def test_a_model_is_installed_with_progress_and_deleted(router: Router, hub: FakeHub) -> None:
    hub.pause_s = 0.01
    ran = on(router, install("me/tiny"))
    told = [one.done_bytes for one in ran.progress if one.done_bytes is not None]
    assert told == sorted(told)
    assert told[-1] == ran.progress[-1].total_bytes == hub.files["me/tiny"]["tiny-Q8_0.gguf"].stat().st_size
    found = listed(router)["me/tiny:Q8_0"]
    assert (found.publisher, found.quantization, found.detail["can_remove"]) == ("me", "Q8_0", True)
    on(router, install("me/tiny:Q8_0"))
    on(router, DRIVER.load("me/tiny:Q8_0", detail={}, options={}))
    on(router, DRIVER.delete("me/tiny:Q8_0", detail={}))
    assert "me/tiny:Q8_0" not in listed(router)


@needs_router
@pytest.mark.parametrize("name", ["me/nope", "me/tiny:Q2_K", "me/untagged"])
def test_a_download_that_brings_nothing_is_not_taken_for_done(router: Router, name: str) -> None:
    with pytest.raises(ModelNotFound, match="there is no model"):
        on(router, install(name))


@needs_router
def test_a_name_that_is_no_repository_is_refused(router: Router) -> None:
    with pytest.raises(BadRequest, match="invalid HF repo format"):
        on(router, install("tiny"))


@needs_router
def test_a_download_is_cancelled_at_the_runtime(router: Router, hub: FakeHub) -> None:
    hub.pause_s = 0.5
    ran = on(router, install("me/slow"), stop_at=lambda told: bool(told.total_bytes))
    assert ran.stopped
    end = time.monotonic() + 20
    while any(name.startswith("me/slow") for name in listed(router)):
        assert time.monotonic() < end, "the download was not called off"
        time.sleep(0.1)
    hub.pause_s = 0.0
    on(router, install("me/slow"))
    assert "me/slow:Q8_0" in listed(router)


@needs_router
def test_models_in_the_folder_are_not_deleted(router: Router) -> None:
    on(router, DRIVER.import_("embeds", "embeds.gguf", remembered={}, options={}))
    with pytest.raises(BadRequest, match="only models that it has downloaded"):
        on(router, DRIVER.delete("embeds", detail={}))
