"""Streamed answers of Anthropic's Messages API; test_streams.py cuts and breaks them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import get
from providers.dialects.anthropic.stream import MessageDecoder
from providers.errors import BadReply, BadRequest, Overloaded, UpstreamError
from providers.target import Target
from providers.wire import Operation
from tests.providers.exchanges import GOLDEN, assembled, decoded, golden

STREAMS = ["stream_text", "stream_tools", "stream_thinking", "stream_json_tool", "stream_refusal"]


def stream(name: str) -> bytes:
    return (GOLDEN / "anthropic" / f"{name}.sse").read_bytes()


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_chunks_that_openais_client_puts_together(name: str) -> None:
    events, decoder, error = decoded(get("anthropic").decoder(Operation.CHAT), [stream(name)])
    assert (error, decoder.finished) == (None, True)
    expected = golden("anthropic", f"{name}.expected")
    del expected["source"]
    assert assembled(events) == expected


def lines(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


START = {"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 3}}}


def test_an_error_in_the_stream_comes_after_what_was_said_before_it() -> None:
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events, decoder, error = decoded(MessageDecoder(), [lines(START, failed)])
    assert len(events) == 1
    assert isinstance(error, Overloaded)
    assert not decoder.finished
    events, _, error = decoded(MessageDecoder(), [b'event: error\ndata: {"type": "invalid_request_error"}\n\n'])
    assert isinstance(error, BadRequest)


def test_thinking_that_is_kept_from_us_can_still_go_back() -> None:
    """https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking: display omitted"""
    hidden: list[Any] = [
        {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "EqQB"}},
        {"type": "content_block_stop"},
    ]
    message = assembled(decoded(MessageDecoder(), [lines(START, *hidden)])[0])["message"]
    assert "reasoning_content" not in message
    payload = {"messages": [{"role": "user", "content": "Hi"}, message]}
    request = get("anthropic").build(Operation.CHAT, payload, Target("F", "claude", "https://h/v1"))
    sent = json.loads(request.body or b"")["messages"][1]["content"]
    assert sent == [{"type": "thinking", "thinking": "", "signature": "EqQB"}]


def test_what_is_new_or_out_of_place_is_passed_over() -> None:
    odd: list[Any] = [
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "content_block_start", "content_block": {"type": "server_tool_use", "id": "s"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop"},
        {"type": "message_delta", "delta": {}},
        {"type": "brand_new"},
    ]
    events, decoder, error = decoded(MessageDecoder(), [lines(START, *odd, {"type": "message_stop"})])
    assert (error, decoder.finished) == (None, True)
    assert [event["choices"][0]["delta"] for event in events] == [{"role": "assistant", "content": ""}]


types = (
    st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop"])
    | st.sampled_from(["message_delta", "ping", "text", "thinking", "redacted_thinking", "tool_use"])
    | st.sampled_from(["text_delta", "thinking_delta", "signature_delta", "input_json_delta", "refusal"])
    | st.sampled_from(["error", "message_stop"])
)
fields = (
    st.sampled_from(["type", "message", "content_block", "delta", "usage", "text", "thinking", "signature"])
    | st.sampled_from(["partial_json", "data", "id", "name", "input", "stop_reason", "stop_details"])
    | st.sampled_from(["input_tokens", "output_tokens", "index", "error"])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | types,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=6,
)
blocks = st.dictionaries(fields, values, max_size=3).flatmap(
    lambda rest: types.map(lambda kind: {**rest, "type": kind})
)
events_of_any_shape = st.fixed_dictionaries(
    {"type": types}, optional={"message": blocks, "content_block": blocks, "delta": blocks, "usage": values}
)


@given(st.lists(events_of_any_shape, max_size=8))
def test_no_stream_breaks_it(events: list[dict[str, Any]]) -> None:
    data = lines(*events)
    whole, decoder, error = decoded(MessageDecoder(), [data])
    assert error is None or isinstance(error, UpstreamError)
    again, other, same = decoded(MessageDecoder(), [data[i : i + 7] for i in range(0, len(data), 7)])
    assert (again, other.finished, type(same)) == (whole, decoder.finished, type(error))


def test_memory_is_bounded() -> None:
    decoder = MessageDecoder(max_event_bytes=10_000)
    decoder.feed(lines(START, {"type": "content_block_start", "content_block": {"type": "thinking"}}))
    piece = lines({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x" * 1000}})
    for _ in range(100):
        assert decoder.feed(piece)
    assert sum(len(str(value)) for value in vars(decoder).values()) < 4000
    with pytest.raises(BadReply, match="too large"):
        decoder.feed(b"data: " + b"x" * 20_000)
