"""Streamed chats of Ollama's wire format; test_streams.py cuts and breaks them further."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import get
from providers.dialects.ollama.stream import ChatDecoder
from providers.errors import BadReply, UpstreamError
from providers.wire import Operation
from tests.providers import exchanges
from tests.providers.exchanges import GOLDEN, check_cuts, decoded, said

ollama = get("ollama")
STREAM = (GOLDEN / "ollama" / "chat_stream.ndjson").read_bytes()
TOOLS_STREAM = (GOLDEN / "ollama" / "chat_stream_tools.ndjson").read_bytes()


def test_a_stream_decodes_to_chunks_of_openais_type() -> None:
    events, decoder, error = decoded(ollama.decoder(Operation.CHAT), [STREAM])
    assert (error, decoder.finished) == (None, True)
    whole = said(events)
    assert (whole["content"], whole["reasoning"], whole["finish"]) == ("Größe zählt", "The sky is…", "stop")
    assert whole["usage"] == {"prompt_tokens": 26, "completion_tokens": 282, "total_tokens": 308}
    assert {event["model"] for event in events} == {"qwen3"}
    likely = [choice["logprobs"]["content"][0] for event in events for choice in event["choices"] if choice["logprobs"]]
    assert [(entry["token"], entry["logprob"]) for entry in likely] == [(" zählt", -0.25)]


def test_streamed_tool_calls_are_numbered_through() -> None:
    events, _, error = decoded(ChatDecoder(), [TOOLS_STREAM])
    assert error is None
    whole = said(events)
    assert (whole["content"], whole["finish"]) == ("Let me look.", "tool_calls")
    assert [json.loads(call[2])["city"] for call in whole["calls"]] == ["Tokyo", "Paris", "Oslo"]
    assert whole["calls"][1][0] == "call_b"
    assert len({call[0] for call in whole["calls"]}) == 3


@pytest.mark.parametrize("stream", [STREAM.replace(b"\n", b"\r\n\r\n"), STREAM.rstrip(b"\n")])
def test_lines_may_end_otherwise(stream: bytes) -> None:
    exchanges.check_every_cut(ChatDecoder, stream)
    assert decoded(ChatDecoder(), [stream])[1].finished


def test_an_error_in_the_stream_comes_after_the_events_before_it() -> None:
    first = STREAM.split(b"\n")[0]
    events, decoder, error = decoded(ChatDecoder(), [first + b'\n{"error":"an error was encountered"}\n'])
    assert said(events)["reasoning"] == "The sky "
    assert isinstance(error, UpstreamError)
    assert not decoder.finished
    assert "an error was encountered" in str(error)
    with pytest.raises(type(error)):
        decoder.feed(b"")


def test_memory_is_bounded() -> None:
    decoder = ChatDecoder(max_event_bytes=10_000)
    with pytest.raises(BadReply, match="too large"):
        for _ in range(20):
            decoder.feed(b"x" * 1000)


NAMES = ["message", "content", "tool_calls", "function", "name", "arguments", "thinking", "done", "error", "token"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
rows = st.dictionaries(
    st.sampled_from(["message", "done", "done_reason", "model", "created_at", "logprobs", "eval_count", "error"]),
    json_values,
    max_size=5,
)
calls = st.builds(lambda found: {"message": {"tool_calls": found}}, json_values)
odd_lines = st.one_of(
    st.builds(lambda row: json.dumps(row).encode(), rows | calls),
    st.sampled_from([b"", b"{broken", b"5", b"[]", b'{"error": "busy"}', *STREAM.split(b"\n")]),
)


@given(st.lists(odd_lines, max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 500), max_size=6))
def test_no_stream_makes_it_raise_anything_but_upstream_errors(lines: list[bytes], end: bytes, cuts: list[int]) -> None:
    chunks, _, _ = check_cuts(ChatDecoder, end.join(lines), cuts)
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
