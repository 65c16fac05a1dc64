"""Streamed answers of Google's Gemini API; test_streams.py cuts and breaks them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import get
from providers.dialects.gemini.stream import MAX_CANDIDATES, ContentDecoder
from providers.errors import BadReply, ContentFiltered, Overloaded, UpstreamError
from providers.wire import Operation
from tests.providers.exchanges import GOLDEN, assembled, decoded, golden

STREAMS = ["stream_text", "stream_thinking", "stream_tools", "stream_safety"]


def stream(name: str) -> bytes:
    return (GOLDEN / "gemini" / f"{name}.sse").read_bytes()


def lines(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_chunks_that_openais_client_puts_together(name: str) -> None:
    events, decoder, error = decoded(get("gemini").decoder(Operation.CHAT), [stream(name)])
    assert (error, decoder.finished) == (None, True)
    expected = golden("gemini", f"{name}.expected")
    del expected["source"]
    assert assembled(events) == expected


SAID = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}


def test_an_error_in_the_stream_comes_after_what_was_said_before_it() -> None:
    busy = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    events, decoder, error = decoded(ContentDecoder(), [lines(SAID, busy)])
    assert (len(events), decoder.finished) == (2, False)
    assert isinstance(error, Overloaded)


def test_an_answer_that_failed_is_an_error_after_what_it_said() -> None:
    failed = {"candidates": [{**SAID["candidates"][0], "finishReason": "MALFORMED_FUNCTION_CALL"}]}
    events, decoder, error = decoded(ContentDecoder(), [lines(failed, SAID)])
    assert events[-1]["choices"][0]["delta"] == {"content": "Hi"}
    assert isinstance(error, BadReply)
    assert not decoder.finished


def test_a_prompt_that_is_blocked_is_a_matter_of_content() -> None:
    _, _, error = decoded(ContentDecoder(), [lines({"promptFeedback": {"blockReason": "SAFETY"}})])
    assert isinstance(error, ContentFiltered)


def test_every_candidate_must_end() -> None:
    two = {"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1}]}
    assert not decoded(ContentDecoder(), [lines(two)])[1].finished
    assert decoded(ContentDecoder(), [lines(two, {"candidates": [{"index": 1, "finishReason": "STOP"}]})])[1].finished


fields = st.sampled_from(["candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall"]) | (
    st.sampled_from(["name", "args", "index", "finishReason", "usageMetadata", "promptTokenCount", "logprobsResult"])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["STOP", "OTHER", "SAFETY"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=6,
)
candidates = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"parts": st.lists(st.dictionaries(fields, values, max_size=3), max_size=3)})},
    optional={"index": values, "finishReason": values, "logprobsResult": values},
)


@given(
    st.lists(
        st.fixed_dictionaries({"candidates": st.lists(candidates, max_size=3)}, optional={"usageMetadata": values})
    )
)
def test_no_stream_breaks_it(events: list[dict[str, Any]]) -> None:
    data = lines(*events)
    whole, decoder, error = decoded(ContentDecoder(), [data])
    assert error is None or isinstance(error, UpstreamError)
    again, other, same = decoded(ContentDecoder(), [data[i : i + 7] for i in range(0, len(data), 7)])
    assert (again, other.finished, type(same)) == (whole, decoder.finished, type(error))


def test_memory_is_bounded() -> None:
    decoder = ContentDecoder(max_event_bytes=10_000)
    with pytest.raises(BadReply, match="too many"):
        for index in range(MAX_CANDIDATES + 1):
            decoder.feed(lines({"candidates": [{"index": index, "content": {"parts": [{"text": "x"}]}}]}))
    with pytest.raises(BadReply, match="too large"):
        ContentDecoder(max_event_bytes=10_000).feed(b"data: " + b"x" * 20_000)
