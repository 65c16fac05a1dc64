"""Vertex AI: Gemini and Claude behind one credential."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from providers import errors as tree
from providers.dialects import get
from providers.dialects.anthropic.stream import MessageDecoder
from providers.dialects.base import StreamDecoder
from providers.dialects.gemini.stream import ContentDecoder
from providers.dialects.vertex.stream import AnyDecoder
from providers.errors import BadReply, ModelNotFound, Overloaded, Unsupported, UpstreamError, WrongURL
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation
from tests.providers.exchanges import GOLDEN, JSON, assembled, check_request, decoded, golden, parsed

vertex = get("vertex")
FIELDS = {"google_project_id": "project-1", "google_region": "global"}
QUIRKS = {"version_path": "/v1", "publishers": {"claude-": "anthropic"}}
HI = {"messages": [{"role": "user", "content": "Hi"}]}
CHATS = ["chat", "chat_claude", "tools", "tools_claude"]
EMBEDDINGS = ["embeddings", "embed_content", "embed_contents"]
STREAMS: dict[str, type[StreamDecoder]] = {
    **{str(path): ContentDecoder for path in (GOLDEN / "gemini").glob("*.sse")},
    **{str(path): MessageDecoder for path in (GOLDEN / "anthropic").glob("*.sse")},
}


def target(model: str = "gemini-2.5-flash", **fields: str) -> Target:
    credential = CredentialFields({**FIELDS, **fields})
    return Target("F", model, "https://h", quirks=Quirks.from_data(QUIRKS), credential=credential)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_is_translated_both_ways(name: str) -> None:
    case = golden("vertex", name)
    check_request("vertex", Operation.CHAT, case)
    reply = parsed("vertex", Operation.CHAT, case)
    assert reply == case["parsed"]
    ChatCompletion.model_validate(reply, strict=True)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_texts_are_embedded_by_the_method_of_their_model(name: str) -> None:
    case = golden("vertex", name)
    check_request("vertex", Operation.EMBEDDINGS, case)
    assert parsed("vertex", Operation.EMBEDDINGS, case) == Embeddings(**case["parsed"])


def test_models_are_listed_by_pages() -> None:
    case = golden("vertex", "models")
    check_request("vertex", Operation.MODELS, case)
    page = parsed("vertex", Operation.MODELS, case)
    assert [model.id for model in page] == case["parsed"]["models"]
    assert page.next_page == case["parsed"]["next_page"]
    assert vertex.parse(Operation.MODELS, 200, JSON, b"{}") == []


@pytest.mark.parametrize(("status", "data", "kind", "wait"), golden("vertex", "errors")["cases"])
def test_each_error_has_its_class(status: int, data: Any, kind: str, wait: float | None) -> None:
    for operation in vertex.operations:
        with pytest.raises(UpstreamError) as caught:
            vertex.parse(operation, status, JSON, json.dumps(data).encode())
        assert type(caught.value) is getattr(tree, kind)
        assert caught.value.upstream_status == status
        assert caught.value.retry_after_s == wait


def test_a_publisher_may_be_part_of_the_name() -> None:
    for model, place in (
        ("claude-sonnet-4-6", "anthropic/models/claude-sonnet-4-6:rawPredict"),
        ("anthropic/claude-sonnet-4-6", "anthropic/models/claude-sonnet-4-6:rawPredict"),
        ("google/gemini-2.5-pro", "google/models/gemini-2.5-pro:generateContent"),
    ):
        request = vertex.build(Operation.CHAT, HI, target(model))
        assert request.url == f"https://h/v1/projects/project-1/locations/global/publishers/{place}"


def test_a_publisher_whose_wire_is_not_known_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="mistralai"):
        vertex.build(Operation.CHAT, HI, target("mistralai/mistral-medium-3"))


@pytest.mark.parametrize("model", ["", "a/b/c", "a b", "../x", "x:predict", "x?y", "claude-x/", "A/b", "é"])
def test_what_cannot_be_a_models_name_is_none(model: str) -> None:
    for operation, payload in ((Operation.CHAT, HI), (Operation.EMBEDDINGS, {"input": "a"})):
        with pytest.raises(ModelNotFound):
            vertex.build(operation, payload, target(model))


@pytest.mark.parametrize(
    "fields",
    [
        {"google_project_id": ""},
        {"google_project_id": "a/b"},
        {"google_project_id": "a?b"},
        {"google_region": ""},
        {"google_region": "us/../.."},
        {"google_region": "US"},
    ],
)
def test_without_project_and_region_nothing_is_sent(fields: dict[str, str]) -> None:
    with pytest.raises(WrongURL, match="project and region") as caught:
        vertex.build(Operation.CHAT, HI, target(**fields))
    assert caught.value.step == "build"


@pytest.mark.parametrize("name", ["stream_gemini", "stream_claude"])
def test_a_stream_is_chunks_that_openais_client_puts_together(name: str) -> None:
    data = (GOLDEN / "vertex" / f"{name}.sse").read_bytes()
    events, decoder, error = decoded(vertex.decoder(Operation.CHAT), [data])
    assert (error, decoder.finished) == (None, True)
    expected = golden("vertex", f"{name}.expected")
    del expected["source"]
    assert assembled(events) == expected


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_is_that_of_the_models_own_wire_format(path: str) -> None:
    with open(path, "rb") as file:
        data = file.read()
    theirs, decoder, _ = decoded(STREAMS[path](), [data])
    ours, either, error = decoded(vertex.decoder(Operation.CHAT), [data])
    assert (ours, either.finished, error) == (theirs, decoder.finished, None)
    assert either.finished


def test_an_error_may_be_the_first_event() -> None:
    busy = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    told = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n'
    for data in (b"data: " + json.dumps({"error": busy}).encode() + b"\n\n", told, told.partition(b"\n")[2]):
        events, decoder, error = decoded(AnyDecoder(), [data])
        assert (events, decoder.finished) == ([], False)
        assert isinstance(error, Overloaded)


def test_googles_own_events_in_a_claude_stream_are_passed_over() -> None:
    data = (GOLDEN / "anthropic" / "stream_text.sse").read_bytes()
    noted = b'event: vertex_event\ndata: {"type": "vertex_event", "usage": {}}\n\n'
    assert decoded(AnyDecoder(), [noted + data])[0] == decoded(MessageDecoder(), [data])[0]


def test_what_is_no_stream_is_told() -> None:
    for data in (b"<html>Welcome</html>", b"{}", b"data: [\n\n", b": only a comment\n\n"):
        _, decoder, error = decoded(AnyDecoder(), [data])
        assert not decoder.finished
        assert isinstance(error, BadReply)
    with pytest.raises(BadReply, match="too large"):
        AnyDecoder(max_event_bytes=10_000).feed(b"data: " + b"x" * 20_000)
    assert AnyDecoder().close() == []


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"<html>", b'{"candidates": []}', b'{"type": "message"}', b'{"publisherModels": 5}'),
        *(b'{"predictions": []}', b'{"predictions": [5]}', b'{"predictions": [{"embeddings": {"values": []}}]}'),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(data: bytes) -> None:
    for operation in vertex.operations - ({Operation.MODELS} if data == b"{}" else set()):
        with pytest.raises(BadReply):
            vertex.parse(operation, 200, JSON, data)


names = st.sampled_from(["type", "message", "error", "candidates", "content", "parts", "embeddings", "values", "text"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, values, max_size=5), st.lists(values, max_size=3))
def test_no_reply_breaks_it(reply: dict[str, Any], content: list[Any]) -> None:
    for name, operation in itertools.product(("candidates", "predictions", "publisherModels"), vertex.operations):
        try:
            vertex.parse(operation, 200, JSON, json.dumps({**reply, name: content}).encode())
        except UpstreamError:
            continue


@given(st.lists(st.dictionaries(names, values, max_size=3)), st.sampled_from([b"", b"event: x\n"]))
def test_no_stream_breaks_it(events: list[dict[str, Any]], name: bytes) -> None:
    data = b"".join(name + b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    whole, decoder, error = decoded(AnyDecoder(), [data])
    assert error is None or isinstance(error, UpstreamError)
    again, other, same = decoded(AnyDecoder(), [data[i : i + 7] for i in range(0, len(data), 7)])
    assert (again, other.finished, type(same)) == (whole, decoder.finished, type(error))
