"""Streamed answers of Converse: AWS's binary frames, cut anywhere and broken anyhow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import get
from providers.dialects.bedrock.stream import ConverseDecoder
from providers.errors import BadReply, BadRequest, Overloaded, RateLimited, ServerFailed, UpstreamError
from providers.target import Target
from providers.wire import Operation
from tests.providers.exchanges import check_cuts, decoded, said
from tests.providers.streams import frame, golden, raw_frame

T = "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q"
START = ("messageStart", {"role": "assistant"})
USAGE = (
    "metadata",
    {"usage": {"inputTokens": 47, "outputTokens": 20, "totalTokens": 67}, "metrics": {"latencyMs": 100}},
)
COUNTED = {"prompt_tokens": 47, "completion_tokens": 20, "total_tokens": 67}


def delta(index: int, **piece: Any) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": piece}


def shut(index: int) -> tuple[str, Any]:
    return "contentBlockStop", {"contentBlockIndex": index}


def stop(reason: str) -> tuple[str, Any]:
    return "messageStop", {"stopReason": reason}


def joined(*events: tuple[str, Any]) -> bytes:
    return b"".join(frame(*event) for event in events)


STREAMS = {stream.name.removeprefix("stream_"): stream.data for stream in golden("bedrock")}
TEXT, TOOLS, THINKING = STREAMS["text"], STREAMS["tools"], STREAMS["thinking"]
EXPECTED: dict[str, dict[str, Any]] = {
    "text": {"content": "Hello", "finish": "stop"},
    "tools": {
        "content": "Let me see.",
        "calls": [[f"{T}1", "top_song", '{"sign": "WZPZ"}'], [f"{T}2", "now", "{}"]],
        "finish": "tool_calls",
    },
    "thinking": {"content": "12", "reasoning": "Multiply.\n\nAdd.", "finish": "length"},
    "json_tool": {"content": '{"a": 1}', "finish": "stop"},
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_chunks_that_openais_client_puts_together(name: str) -> None:
    events, decoder, error = decoded(get("bedrock").decoder(Operation.CHAT), [STREAMS[name]])
    assert (error, decoder.finished) == (None, True)
    empty = {"content": "", "reasoning": "", "calls": [], "usage": COUNTED}
    assert said(events) == {**empty, **EXPECTED[name]}


@pytest.mark.parametrize("name", STREAMS)
def test_awss_own_library_reads_the_same_frames(name: str) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(STREAMS[name])
    kinds = [message.headers[":event-type"] for message in buffer]
    assert (kinds[0], kinds[-1]) == ("messageStart", "metadata")


def test_thinking_can_go_back_as_it_came() -> None:
    events, _, _ = decoded(ConverseDecoder(), [THINKING])
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        for choice in event["choices"]:
            for entry in choice["delta"].get("thinking_blocks", ()):
                block = blocks.setdefault(entry["index"], {"type": entry["type"]})
                for name in ("thinking", "signature", "data"):
                    if name in entry:
                        block[name] = block.get(name, "") + entry[name]
    payload = {"messages": [{"role": "assistant", "content": "12", "thinking_blocks": list(blocks.values())}]}
    request = get("bedrock").build(Operation.CHAT, payload, Target("F", "m", "https://h"))
    assert json.loads(request.body or b"")["messages"][0]["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "Multiply.", "signature": "EqQB"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
    ]


def test_the_answer_is_whole_without_what_was_counted() -> None:
    assert decoded(ConverseDecoder(), [TEXT.removesuffix(frame(*USAGE))])[1].finished


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", RateLimited),
        ("serviceUnavailableException", Overloaded),
        ("internalServerException", ServerFailed),
        ("modelStreamErrorException", ServerFailed),
        ("validationException", BadRequest),
        ("brandNewException", ServerFailed),
    ],
)
def test_an_exception_comes_after_what_was_said_before_it(name: str, kind: type[UpstreamError]) -> None:
    data = joined(START, delta(0, text="Hi")) + frame(name, {"message": "Too bad"}, "exception")
    events, decoder, error = check_cuts(ConverseDecoder, data, [50])
    assert (len(events), decoder.finished) == (2, False)
    assert type(error) is kind
    assert "Too bad" in str(error)


def test_an_error_without_a_payload_is_told() -> None:
    told = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Went wrong"}
    _, _, error = decoded(ConverseDecoder(), [raw_frame(told, b"")])
    assert isinstance(error, ServerFailed)
    assert "Went wrong" in str(error)


@given(st.integers(0, len(TOOLS) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_never_taken_for_an_answer(place: int, flip: int) -> None:
    broken = bytearray(TOOLS)
    broken[place] ^= flip
    events, decoder, error = check_cuts(ConverseDecoder, bytes(broken), [place, place + 1])
    whole = decoded(ConverseDecoder(), [TOOLS])[0]
    assert events == whole[: len(events)]
    assert isinstance(error, BadReply) or not decoder.finished


@pytest.mark.parametrize("body", [b"<html>A proxy's page</html>", b'{"message": "no"}', b"data: {}\n\n" * 9, b"x"])
def test_what_is_no_such_stream_is_a_bad_reply(body: bytes) -> None:
    _, decoder, error = decoded(ConverseDecoder(), [body])
    assert isinstance(error, BadReply)
    assert not decoder.finished


@pytest.mark.parametrize("payload", [b"[]", b"nonsense", b"\xff"])
def test_an_event_that_is_no_object_is_a_bad_reply(payload: bytes) -> None:
    assert isinstance(decoded(ConverseDecoder(), [frame("messageStart", payload)])[2], BadReply)


def test_what_is_new_is_passed_over_and_malformed_headers_are_not() -> None:
    typed = b"\x01a\x00\x01b\x02\x05\x01c\x04\0\0\0\1\x01d\x06\0\2xy\x01e\x08" + bytes(8) + b"\x01f\x09" + bytes(16)
    new = frame("brandNew", {}) + raw_frame({":event-type": "initial-response"}, b"", typed)
    odd = joined(delta(0), ("contentBlockDelta", {"delta": 5}), ("contentBlockStart", {}), stop("end_turn"), USAGE)
    _, decoder, error = decoded(ConverseDecoder(), [new + odd])
    assert (error, decoder.finished) == (None, True)
    for more in (b"\x05a", b"\x01a\x63", b"\x01a\x07\xff\xff", b"\x01\xff\x00"):
        assert isinstance(decoded(ConverseDecoder(), [raw_frame({}, b"{}", more)])[2], BadReply)


names = st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"])
fields = st.sampled_from(
    ["start", "delta", "toolUse", "reasoningContent", "text", "input", "name", "stopReason", "usage"]
)
plain = st.none() | st.integers() | st.text(max_size=4)
values = plain | st.lists(plain, max_size=1) | st.dictionaries(fields, plain | st.just({"text": "x"}), max_size=2)


@given(st.lists(st.tuples(names | st.just("metadata"), st.dictionaries(fields, values, max_size=2)), max_size=5))
def test_no_stream_breaks_it(events: list[tuple[str, Any]]) -> None:
    _, _, error = check_cuts(ConverseDecoder, joined(*events), range(0, 2000, 7))
    assert error is None or isinstance(error, UpstreamError)


def test_memory_is_bounded() -> None:
    decoder = ConverseDecoder(max_event_bytes=10_000)
    for _ in range(100):
        assert decoder.feed(joined(delta(0, text="x" * 1000)))
    large = frame("contentBlockDelta", {"delta": {"text": "x" * 20_000}})
    with pytest.raises(BadReply, match="too large"):
        decoder.feed(large[:100])
    assert not decoder._parser._buffer
