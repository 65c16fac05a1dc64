"""Streamed chats of Cohere's wire format; test_streams.py cuts and breaks them further."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import get
from providers.dialects.cohere.stream import ChatDecoder
from providers.wire import Operation
from tests.providers.exchanges import GOLDEN, check_cuts, decoded, said

cohere = get("cohere")
STREAM = (GOLDEN / "cohere" / "chat_stream.sse").read_bytes()
TOOLS_STREAM = (GOLDEN / "cohere" / "chat_stream_tools.sse").read_bytes()


def test_a_stream_decodes_to_chunks_of_openais_type() -> None:
    events, decoder, error = decoded(cohere.decoder(Operation.CHAT), [STREAM])
    assert (error, decoder.finished) == (None, True)
    whole = said(events)
    assert (whole["content"], whole["reasoning"], whole["finish"]) == ("LLM ist groß", "Sea first.", "stop")
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 15, "total_tokens": 18}
    assert {event["id"] for event in events} == {"29f14a5a"}
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert [delta["citations"][0]["text"] for delta in deltas if "citations" in delta] == ["LLM"]
    logprobs = [choice["logprobs"] for event in events for choice in event["choices"] if choice["logprobs"]]
    assert [entry["logprob"] for item in logprobs for entry in item["content"]] == [-0.125]


def test_streamed_tool_calls_are_numbered_from_zero() -> None:
    events, decoder, error = decoded(ChatDecoder(), [TOOLS_STREAM])
    assert (error, decoder.finished) == (None, True)
    whole = said(events)
    assert (whole["content"], whole["finish"]) == ("I will look.", "tool_calls")
    assert [(call[0], call[1], json.loads(call[2])) for call in whole["calls"]] == [
        ("get_weather_a", "get_weather", {"location": "Toronto"}),
        ("get_weather_b", "get_weather", {"location": "Paris"}),
    ]


NAMES = ["type", "delta", "message", "content", "tool_calls", "function", "text", "usage", "tokens", "index", "error"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
KINDS = ["message-start", "content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"]
KINDS += ["citation-start", "message-end", "unknown"]
odd_events = st.builds(
    lambda kind, rest: f"data: {json.dumps({'type': kind, **rest})}\n\n".encode(),
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(["delta", "index", "id", "logprobs"]), json_values, max_size=3),
)
lines = st.sampled_from(
    [b": ping\n\n", b"data: [DONE]\n\n", b"data: {broken\n\n", b'data: {"message":"busy"}\n\n', STREAM]
)


@given(st.lists(odd_events | lines, max_size=6), st.lists(st.integers(0, 500), max_size=6))
def test_no_stream_makes_it_raise_anything_but_upstream_errors(events: list[bytes], cuts: list[int]) -> None:
    chunks, _, _ = check_cuts(ChatDecoder, b"".join(events), cuts)
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
