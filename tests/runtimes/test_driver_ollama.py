"""Ollama's driver: what it asks and what it makes of the answers; and over a fake that speaks its documented API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    ServerFailed,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from runtimes.drivers.ollama import DRIVER, tagged
from runtimes.drivers.steps import NEXT, Listen, Stopped
from tests.runtimes.fakes.ollama import FakeModel, FakeOllama, chat, embedding
from tests.runtimes.fakes.server import hang, hang_up, says
from tests.runtimes.playing import ANYTHING, Exchange, Heard, Told, answer, cut, lines, play
from tests.runtimes.running import run

NOTHING: dict[str, Any] = {}
PULL = ("POST", "/api/pull", {"model": "tiny", "stream": True})


@pytest.fixture
def runtime() -> Iterator[FakeOllama]:
    with FakeOllama() as one:
        yield one


def install(name: str = "tiny", **options: Any) -> Any:
    return DRIVER.install(name, remembered={}, options=options)


def pulled(*objects: Any, script: list[Exchange] | None = None) -> Told[None]:
    return play(install(), script or [(PULL, Heard([lines(*objects)]))])


# Without a network.


def test_progress_is_the_sum_over_all_layers() -> None:
    told = pulled(
        {"status": "pulling manifest"},
        {"status": "pulling a", "digest": "sha256:a", "total": 100},
        {"status": "pulling b", "digest": "sha256:b", "total": 50},
        {"status": "pulling a", "digest": "sha256:a", "total": 100, "completed": 30},
        {"status": "pulling b", "digest": "sha256:b", "total": 50, "completed": 50},
        {"status": "pulling a", "digest": "sha256:a", "total": 100, "completed": 100},
        {"status": "verifying sha256 digest"},
        {"status": "success"},
    )
    told.get()
    assert [(step.done_bytes, step.total_bytes) for step in told.progress] == [
        (None, None),
        (0, 100),
        (0, 150),
        (30, 150),
        (80, 150),
        (150, 150),
        (150, 150),
        (150, 150),
    ]
    assert told.progress[6].message == "verifying sha256 digest"


@pytest.mark.parametrize(
    ("said", "kind", "retry"),
    [
        ("pull model manifest: file does not exist", ModelNotFound, False),
        ("max retries exceeded: EOF", ServerFailed, True),
        ("write /root/.ollama/models/blobs/x: no space left on device", GenericUpstreamError, False),
        ({"message": "odd"}, ServerFailed, True),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_one(said: Any, kind: type[UpstreamError], retry: bool) -> None:
    told = pulled({"status": "pulling manifest"}, {"error": said})
    assert type(told.error) is kind
    assert told.error.retry is retry


def test_a_stream_that_ends_without_success_failed() -> None:
    for ending in ([], [{"status": "pulling manifest"}], [{"status": "success"}, {"status": "writing manifest"}]):
        told = pulled(*ending)
        assert isinstance(told.error, Unreachable)
        assert told.error.retry


def test_success_before_a_cut_is_no_success() -> None:
    broken = Heard([lines({"status": "success"})], failure=Unreachable(step="body"))
    assert isinstance(pulled(script=[(PULL, broken)]).error, Unreachable)


def test_a_status_before_the_first_line_counts() -> None:
    told = play(install(), [(PULL, answer({"error": "pull model manifest: file does not exist"}, status=500))])
    assert type(told.error) in (ModelNotFound, ServerFailed)
    told = play(install(), [(PULL, answer(status=503, body=b'{"error":"server busy, please try again."}'))])
    assert isinstance(told.error, Overloaded)


SENT = lines(
    {"status": "pulling manifest"},
    {"status": "pulling a", "digest": "sha256:a", "total": 10, "completed": 4},
    {"status": "pulling a", "digest": "sha256:a", "total": 10, "completed": 10},
    {"status": "success"},
)


@pytest.mark.parametrize("place", range(len(SENT) + 1))
def test_a_pull_cut_off_at_any_byte_never_counts_as_done(place: int) -> None:
    told = play(install(), [(PULL, Heard([SENT[:place]]))])
    if place >= len(SENT) - 1:  # the last newline may be missing
        told.get()
    else:
        assert isinstance(told.error, Unreachable | BadReply)


@given(st.lists(st.integers(min_value=0, max_value=len(SENT)), max_size=20))
def test_a_pull_is_the_same_however_its_bytes_are_cut(places: list[int]) -> None:
    told = play(install(), [(PULL, Heard(cut(SENT, *places)))])
    told.get()
    assert [step.done_bytes for step in told.progress] == [None, 4, 10, 10]


LINE = st.dictionaries(st.sampled_from(["status", "digest", "total", "completed", "error"]), ANYTHING, max_size=5)


@given(st.lists(LINE, max_size=6))
def test_no_line_whatever_it_holds_breaks_a_pull(objects: list[Any]) -> None:
    told = pulled(*objects)
    assert told.error is None or isinstance(told.error, UpstreamError)
    for step in told.progress:
        assert (step.done_bytes or 0) <= (step.total_bytes or 0)


TAG = st.dictionaries(
    st.sampled_from(["name", "model", "size", "details", "modified_at", "capabilities", "digest", "remote_model"]),
    ANYTHING | st.just("tiny"),
)


@given(st.lists(TAG, max_size=3), st.lists(TAG, max_size=2), ANYTHING)
def test_no_list_whatever_it_holds_breaks_the_driver(tags: list[Any], running: list[Any], shown: Any) -> None:
    steps = DRIVER.models()
    given_back: Any = None
    try:
        while True:
            step = steps.send(given_back)
            path = getattr(step, "path", "")
            given_back = answer({"models": running if path == "/api/ps" else tags} if path != "/api/show" else shown)
    except StopIteration as end:
        for one in end.value:
            assert one.name
            json.dumps(one.detail)
    except UpstreamError:
        pass


@pytest.mark.parametrize("name", ["", " tiny", "ti\nny", "x" * 256, "tiny\0"])
def test_what_cannot_be_a_name_is_refused_before_anything_is_sent(name: str) -> None:
    for steps in (
        install(name),
        DRIVER.load(name, detail=NOTHING, options=NOTHING),
        DRIVER.unload(name, detail=NOTHING),
        DRIVER.delete(name, detail=NOTHING),
    ):
        told = play(steps, [])
        assert isinstance(told.error, BadRequest)
        assert told.asked == []


def test_a_pull_lets_itself_be_stopped() -> None:
    told = play(install(), [(PULL, Heard([SENT]))], stop_when=lambda step: Stopped() if step is NEXT else None)
    assert isinstance(told.error, Stopped)
    assert [type(step) for step in told.asked] == [Listen]


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:1b", "llama3.2:1b"),
        ("me/mine", "me/mine:latest"),
        ("hf.co/me/mine:Q4_K_M", "hf.co/me/mine:Q4_K_M"),
        ("localhost:5000/me/mine", "localhost:5000/me/mine:latest"),
    ],
)
def test_a_name_without_a_tag_is_the_latest(name: str, listed: str) -> None:
    assert tagged(name) == listed


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("https://huggingface.co/me/Mine-GGUF", "hf.co/me/Mine-GGUF"),
        ("https://hf.co/me/Mine-GGUF/resolve/main/mine.Q4_K_M.gguf", "hf.co/me/Mine-GGUF:mine.Q4_K_M.gguf"),
        ("ollama://llama3.2:1b", "llama3.2:1b"),
        ("llama3.2", "llama3.2"),
    ],
)
def test_what_is_imported_is_created_from_where_it_is(path: str, source: str) -> None:
    script: list[Exchange] = [
        (
            ("POST", "/api/create", {"model": "mine", "stream": True, "system": "Be brief.", "from": source}),
            Heard([lines({"status": "success"})]),
        )
    ]
    play(DRIVER.import_("mine", path, remembered={}, options={"system": "Be brief.", "x": 1}), script).get()


@pytest.mark.parametrize(
    "path", ["", "/models/x.gguf", "~/x.gguf", "C:\\x.gguf", "file:///x", "https://example.com/x", "./x"]
)
def test_a_file_that_the_runtime_cannot_fetch_is_refused_before_anything_is_sent(path: str) -> None:
    told = play(DRIVER.import_("mine", path, remembered={}, options={}), [])
    assert isinstance(told.error, BadRequest)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":"the runner died"}', "the runner died"),
        (b'{"error":{"message":"the runner died","type":"api_error"}}', "the runner died"),
        (b'{"detail":"the runner died"}', "the runner died"),
        (b'{"message":"the runner died","code":500,"type":"backend"}', "the runner died"),
        (b"the runner died", "the runner died"),
        (b"", ""),
    ],
)
def test_errors_of_any_shape_are_understood(body: bytes, said: str) -> None:
    told = play(DRIVER.ping(), [(("GET", "/api/version"), answer(status=500, body=body))])
    assert isinstance(told.error, ServerFailed)
    assert told.error.detail == said


def test_a_model_that_a_call_keeps_in_memory_is_not_taken_for_unloaded() -> None:
    script: list[Exchange] = [(("POST", "/api/generate"), answer({"done": True, "done_reason": "unload"}))]
    script += [(("GET", "/api/ps"), answer({"models": [{"name": "tiny:latest"}]}))] * 40
    told = play(DRIVER.unload("tiny", detail={}), script)
    assert isinstance(told.error, Overloaded)
    assert told.paused_s == 10.0


# Over a socket.


def test_it_answers_with_its_version(runtime: FakeOllama) -> None:
    told = run(DRIVER.ping(), runtime.url).result
    assert told is not None
    assert told.version == "0.33.0"


def test_all_models_are_listed_with_what_they_can_do(runtime: FakeOllama) -> None:
    runtime.models.append(chat("sees:7b", capabilities=("completion", "vision"), in_list=True))
    runtime.loaded["tiny:latest"] = "5m"
    tiny, minilm, sees = run(DRIVER.models(), runtime.url).result or []
    assert (tiny.name, tiny.state, tiny.type, tiny.model_types) == ("tiny:latest", "loaded", "llm", ("chat",))
    assert (tiny.parameters, tiny.max_tokens, tiny.size_bytes) == (1_235_814_400, 131_072, 43_120)
    assert (tiny.architecture, tiny.quantization, tiny.tooling, tiny.is_gguf) == ("llama", "Q4_K_M", True, True)
    assert tiny.modified_at is not None
    assert tiny.modified_at.isoformat() == "2026-08-04T21:56:49.277302+00:00"
    assert (minilm.state, minilm.type, minilm.model_types) == ("not loaded", "embeddings", ("embedding",))
    assert minilm.detail["embeds_only"] is True
    assert (sees.type, sees.model_types, sees.max_tokens) == ("vlm", ("chat", "image2text"), 131_072)
    assert len(runtime.asked("POST", "/api/show")) == 2, "what the list says itself is not asked for again"


def test_one_model_is_found_by_its_name_without_the_tag(runtime: FakeOllama) -> None:
    found = run(DRIVER.model("Tiny"), runtime.url).result
    assert found is not None
    assert found.name == "tiny:latest"
    assert run(DRIVER.model("tiny:1b"), runtime.url).result is None


def test_a_model_of_the_cloud_is_always_ready_and_never_loaded_here(runtime: FakeOllama) -> None:
    runtime.models = [FakeModel("gpt-oss:120b-cloud", remote_model="gpt-oss:120b")]
    (found,) = run(DRIVER.models(), runtime.url).result or []
    assert (found.state, found.size_bytes, found.is_gguf) == ("loaded", None, None)
    assert found.detail["remote_host"] == "https://ollama.com:443"
    run(DRIVER.load(found.name, detail=found.detail, options={}), runtime.url)
    with pytest.raises(BadRequest, match="cloud"):
        run(DRIVER.unload(found.name, detail=found.detail), runtime.url)
    assert runtime.asked("POST", "/api/generate") == []


def test_a_model_is_installed_with_progress_in_bytes(runtime: FakeOllama) -> None:
    ran = run(install("llama3.2"), runtime.url)
    told = [step.done_bytes for step in ran.progress if step.done_bytes is not None]
    assert told == sorted(told)
    assert told[-1] == ran.progress[-1].total_bytes == 43_120
    assert runtime.asked("POST", "/api/pull")[0].json == {"model": "llama3.2", "stream": True}
    assert [one.name for one in runtime.models] == ["tiny:latest", "all-minilm:latest", "llama3.2:latest"]


def test_cancelling_closes_the_connection_and_a_later_pull_goes_on(runtime: FakeOllama) -> None:
    runtime.pause_s, runtime.chunk_bytes = 0.1, 1000
    ran = run(
        install("llama3.2"),
        runtime.url,
        stop_at=lambda told: (told.done_bytes or 0) > 12_000,
    )
    assert ran.stopped
    assert runtime.wait_for("POST", "/api/pull", closed=True)
    assert runtime.find("llama3.2") is None
    come = sum(runtime.have.values())
    assert come >= 12_000
    runtime.pause_s, runtime.chunk_bytes = 0.0, 10_000
    again = run(install("llama3.2"), runtime.url)
    first = next(step for step in again.progress if step.total_bytes)
    assert first.done_bytes, "it goes on where it was"
    assert runtime.find("llama3.2") is not None


def test_an_error_after_the_first_bytes_is_raised(runtime: FakeOllama) -> None:
    runtime.fails_with = "max retries exceeded: unexpected EOF"
    with pytest.raises(ServerFailed, match="unexpected EOF"):
        run(install("llama3.2"), runtime.url)
    assert runtime.find("llama3.2") is None


def test_a_connection_that_breaks_in_a_pull_is_worth_another_try(runtime: FakeOllama) -> None:
    runtime.cuts = True
    with pytest.raises(UpstreamError) as caught:
        run(install("llama3.2"), runtime.url)
    assert caught.value.retry


def test_a_model_that_nobody_has_is_not_found(runtime: FakeOllama) -> None:
    with pytest.raises(ModelNotFound):
        run(install("no-such"), runtime.url)


def test_models_come_from_hugging_face_too(runtime: FakeOllama) -> None:
    run(install("hf.co/me/Mine-GGUF:Q4_K_M"), runtime.url)
    assert runtime.find("hf.co/me/Mine-GGUF:Q4_K_M") is not None


def test_an_update_pulls_again(runtime: FakeOllama) -> None:
    run(DRIVER.update("tiny:latest", remembered={}, options={}), runtime.url)
    assert len(runtime.asked("POST", "/api/pull")) == 1
    assert len(runtime.models) == 2


def test_a_model_is_made_from_one_that_has_to_be_pulled_first(runtime: FakeOllama) -> None:
    ran = run(DRIVER.import_("mine", "llama3.2", remembered={}, options={"system": "Be brief."}), runtime.url)
    assert runtime.find("mine") is not None
    assert [step.message for step in ran.progress].count("success") == 2, "only the last one ends it"
    assert ran.progress[-1].total_bytes == 43_120


def test_a_file_that_was_sent_to_the_runtime_is_imported_by_its_digest(runtime: FakeOllama) -> None:
    digest = "sha256:" + "a" * 64
    with pytest.raises(BadRequest, match="no file with this digest"):
        run(DRIVER.import_("mine", digest, remembered={}, options={}), runtime.url)
    assert runtime.asked("POST", "/api/create") == []
    runtime.blobs.add(digest)
    run(DRIVER.import_("mine", digest, remembered={}, options={}), runtime.url)
    assert runtime.asked("POST", "/api/create")[0].json["files"] == {"model.gguf": digest}
    assert runtime.find("mine") is not None


def test_a_model_is_loaded_and_unloaded(runtime: FakeOllama) -> None:
    run(DRIVER.load("tiny", detail={}, options={"keep_alive": "30m"}), runtime.url)
    assert runtime.loaded == {"tiny:latest": "30m"}
    runtime.lingers = 3
    run(DRIVER.unload("tiny", detail={}), runtime.url)
    assert runtime.loaded == {}, "it comes back once the model is gone"


@pytest.mark.parametrize("detail", [{}, {"embeds_only": True}])
def test_a_model_that_only_embeds_is_loaded_by_embedding_nothing(runtime: FakeOllama, detail: dict[str, Any]) -> None:
    run(DRIVER.load("all-minilm", detail=detail, options={}), runtime.url)
    assert "all-minilm:latest" in runtime.loaded
    assert runtime.asked("POST", "/api/embed")[0].json == {"model": "all-minilm", "input": ""}
    assert len(runtime.asked("POST", "/api/generate")) == (0 if detail else 1)
    run(DRIVER.unload("all-minilm", detail=detail), runtime.url)
    assert runtime.loaded == {}


def test_a_model_is_deleted_by_a_body_not_by_a_path(runtime: FakeOllama) -> None:
    run(DRIVER.delete("tiny", detail={}), runtime.url)
    (sent,) = runtime.asked("DELETE", "/api/delete")
    assert sent.json == {"model": "tiny"}
    assert sent.headers["content-type"] == "application/json"
    with pytest.raises(ModelNotFound):
        run(DRIVER.delete("tiny", detail={}), runtime.url)


def test_a_model_that_it_has_not_is_neither_loaded_nor_unloaded(runtime: FakeOllama) -> None:
    for steps in (DRIVER.load("nope", detail={}, options={}), DRIVER.unload("nope", detail={})):
        with pytest.raises(ModelNotFound):
            run(steps, runtime.url)


def test_its_troubles_are_told_apart(runtime: FakeOllama) -> None:
    runtime.behave("GET", "/api/version", hang)
    with pytest.raises(TimedOut):
        run(DRIVER.ping(), runtime.url, short_s=2)
    runtime.behave("GET", "/api/version", hang_up)
    with pytest.raises(Unreachable):
        run(DRIVER.ping(), runtime.url)
    runtime.behave("GET", "/api/version", says(200, "<html>hello</html>", "text/html"))
    with pytest.raises(BadReply):
        run(DRIVER.ping(), runtime.url)
    runtime.behave("GET", "/api/tags", says(200, "[]"))
    with pytest.raises(BadReply):
        run(DRIVER.models(), runtime.url)


def test_a_proxy_that_wants_a_key_gets_it() -> None:
    with FakeOllama(key="sk-proxy") as runtime:
        with pytest.raises(AuthenticationFailed):
            run(DRIVER.ping(), runtime.url)
        run(DRIVER.ping(), runtime.url, key="sk-proxy")


def test_an_old_one_that_tells_less_is_listed_all_the_same(runtime: FakeOllama) -> None:
    runtime.models = [embedding()]
    runtime.behave("GET", "/api/ps", says(404, "404 page not found", "text/plain"))
    runtime.behave("POST", "/api/show", says(200, '{"details":{"family":"bert"}}'))
    (found,) = run(DRIVER.models(), runtime.url).result or []
    assert (found.state, found.type, found.model_types) == ("unknown", "unknown", ())
    assert (found.parameters, found.architecture) == (23_000_000, "bert")
