"""Streamed chats of OpenAI's wire format, cut anywhere."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from providers.dialects.openai.chat import ChatDecoder
from providers.errors import BadReply, Overloaded
from tests.providers import exchanges

STREAM = (exchanges.GOLDEN / "openai" / "chat_stream.sse").read_bytes()


def decoded(pieces: list[bytes], **options: int) -> exchanges.Outcome:
    return exchanges.decoded(ChatDecoder(**options), pieces)


def test_a_stream_decodes_to_chunks_of_openais_type() -> None:
    events, decoder, error = decoded([STREAM])
    assert error is None
    assert decoder.finished
    chunks = [ChatCompletionChunk.model_validate(event) for event in events]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


chunk_lines = st.sampled_from(
    [
        b'data: {"choices":[{"delta":{"content":"\xc3\xa4\\u2028\xe2\x80\xa8"}}]}',
        b'data:{"a":1}',
        b'data: {"b":\ndata: 2}',
        b": keep-alive",
        b"event: message",
        b"id: 7\nretry: 100",
        b"unknown",
        b"data",
        b'data: {"error":{"message":"busy","code":"overloaded"}}',
        b"data: {broken",
        b"data: 5",
        b"data: [DONE]",
        b"",
        b"data: " + b'{"long": "' + b"x" * 300 + b'"}',
    ]
)


@given(
    st.lists(chunk_lines, max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
    st.lists(st.integers(0, 2000), max_size=12),
    st.sampled_from([150, 10_000]),
)
def test_bytes_cut_anywhere_give_the_same_events(
    lines: list[bytes], end: bytes, bom: bytes, whole: bool, cuts: list[int], limit: int
) -> None:
    text = b"\n\n".join(lines) + (b"\n\n" if whole else b"")
    data = bom + text.replace(b"\n", end)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    one, first, error = decoded([data], max_event_bytes=limit)
    for split in (pieces, [data[i : i + 1] for i in range(len(data))]):
        events, decoder, other = decoded(split, max_event_bytes=limit)
        assert events == one
        assert decoder.finished == first.finished
        assert (type(other), str(other)) == (type(error), str(error))


def test_an_event_may_span_lines_and_miss_its_last_newline() -> None:
    events, decoder, error = decoded([b': hello\r\n\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: {"b": 2}'])
    assert (events, error, decoder.finished) == ([{"a": 1}, {"b": 2}], None, False)


def test_streamed_thoughts_have_one_name_whatever_the_vendor_calls_them() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "Greet."}]}]
    deltas = [{"content": thinking}, {"reasoning": "Greet."}, {"reasoning_content": "Greet."}, {"content": "Hi"}]
    data = b"".join(b"data: %b\n\n" % json.dumps({"choices": [{"delta": delta}]}).encode() for delta in deltas)
    events, _, error = decoded([data])
    assert error is None
    assert [event["choices"][0]["delta"] for event in events] == [
        {"content": None, "reasoning_content": "Greet."},
        {"reasoning_content": "Greet."},
        {"reasoning_content": "Greet."},
        {"content": "Hi"},
    ]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "stop"),
        ("", None),
        (None, None),
        ("model_length", "length"),
        ("eos", "stop"),
        ([], None),
        ({"a": 1}, "stop"),
    ],
)
def test_why_a_streamed_answer_ended_is_told_in_openais_words(reason: Any, told: str | None) -> None:
    data = b"data: %b\n\n" % json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]}).encode()
    ((event,), _, error) = decoded([data])
    assert error is None
    assert event["choices"][0]["finish_reason"] == told


def test_what_follows_done_is_ignored() -> None:
    events, decoder, error = decoded([b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: {broken\n\n', b"more"])
    assert (events, error, decoder.finished) == ([{"a": 1}], None, True)


def test_an_error_in_the_stream_comes_after_the_events_before_it() -> None:
    events, decoder, error = decoded([b'data: {"a": 1}\n\ndata: {"error": {"code": 503, "message": "busy"}}\n\n'])
    assert events == [{"a": 1}]
    assert isinstance(error, Overloaded)
    with pytest.raises(Overloaded):
        decoder.feed(b"")


def test_malformed_json_in_the_stream_is_a_bad_reply() -> None:
    events, _, error = decoded([b'data: {"a": 1}\n\ndata: {"a": \n\n'])
    assert events == [{"a": 1}]
    assert isinstance(error, BadReply)


@pytest.mark.parametrize("body", [b'{"choices": []}', b"<html><body>Login</body></html>"])
def test_a_body_that_is_no_stream_is_a_bad_reply(body: bytes) -> None:
    events, _, error = decoded([body])
    assert events == []
    assert isinstance(error, BadReply)


def test_an_empty_stream_is_just_not_finished() -> None:
    for pieces in ([], [b""], [b": ping\n\n"]):
        events, decoder, _ = decoded(pieces)
        assert events == []
        assert not decoder.finished


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: x\n" * 100, b": " + b"x" * 1000])
def test_memory_is_bounded(piece: bytes) -> None:
    decoder = ChatDecoder(max_event_bytes=10_000)
    with pytest.raises(BadReply, match="too large"):
        for _ in range(20):
            decoder.feed(piece)
