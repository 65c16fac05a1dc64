"""Streams on their way to the caller, whatever the network and the upstream make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay import Events, Passed, Relay, Translated
from providers import dialects
from providers.errors import BadReply, UpstreamError
from providers.wire import Operation

pytestmark = pytest.mark.once

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def event(data: Any, end: str = "\n\n") -> bytes:
    return f"data: {json.dumps(data)}{end}".encode()


def chunk(content: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def relayed(relay: Relay[bytes], parts: list[bytes]) -> bytes:
    out = []
    for part in parts:
        out.append(relay.feed(part))
        assert out[-1] == b"" or out[-1].endswith(b"\n\n"), "events leave whole"
        if relay.ended:
            break
    else:
        out.append(relay.close())
    return b"".join(out)


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % len(whole) for place in places} | {0})
    return [whole[start:end] for start, end in zip(at, [*at[1:], len(whole)], strict=True)]


@given(texts=st.lists(TEXT, min_size=1, max_size=6), places=st.lists(st.integers(0, 5000), max_size=12), data=st.data())
def test_a_stream_cut_anywhere_leaves_as_the_same_bytes(texts: list[str], places: list[int], data: Any) -> None:
    said = [event(chunk(text)) for text in texts] + [event(chunk("", "stop"))]
    shows = data.draw(st.booleans())
    counted = event({"id": "c", "choices": [], "usage": USAGE})
    sent = [*said, counted, b"data: [DONE]\n\n"]
    for _ in range(data.draw(st.integers(0, 2))):
        sent.insert(data.draw(st.integers(0, len(sent) - 1)), b": a comment\n\n")
    relay = Passed(choices=1, show_usage=shows)
    out = relayed(relay, cut(b"".join(sent), places))
    assert out.replace(b": a comment\n\n", b"") == b"".join([*said, counted] if shows else said)
    assert relay.usage == USAGE
    assert relay.ended and relay.finished
    assert relay.said_tokens() == -(-sum(len(text.encode()) for text in texts) // 4)


@given(texts=st.lists(TEXT, max_size=6), places=st.lists(st.integers(0, 5000), max_size=12), data=st.data())
def test_lines_may_end_in_any_way(texts: list[str], places: list[int], data: Any) -> None:
    ends = st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"])
    said = [chunk(text) for text in texts] + [chunk("", "stop")]
    end = data.draw(ends)
    sent = [event(one, end) for one in said] + [event({"choices": [], "usage": USAGE}, end), b"data: [DONE]\n\n"]
    relay = Passed(choices=1, show_usage=False)
    out = relayed(relay, cut(b"".join(sent), places))
    assert out == b"".join(event(one) for one in said)
    assert relay.usage == USAGE


WRONG: st.SearchStrategy[Any] = st.sampled_from([5, True, "x", [], [5], {}, {"a": 1}, [[]], 1.5, None])
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "delta": WRONG
        | st.fixed_dictionaries({}, optional={"content": WRONG, "tool_calls": WRONG, "reasoning": WRONG}),
        "finish_reason": WRONG,
        "index": WRONG,
    },
)
ODD = st.fixed_dictionaries(
    {}, optional={"choices": WRONG | st.lists(CHOICE, max_size=2), "usage": WRONG | JSON, "error": WRONG, "id": WRONG}
)


@given(events=st.lists(ODD | JSON, max_size=5), rest=st.binary(max_size=20), places=st.lists(st.integers(0, 5000)))
def test_whatever_comes_is_passed_or_an_upstreams_error(events: list[Any], rest: bytes, places: list[int]) -> None:
    whole = b"".join(event(one) for one in events) + rest
    openai = dialects.get("openai")
    for relay in (
        Passed(choices=1, show_usage=False),
        Translated(Events(openai.decoder(Operation.CHAT), choices=1, show_usage=False, model="m")),
    ):
        try:
            relayed(relay, cut(whole, places) if whole else [])
        except UpstreamError as error:
            assert error.hint
        assert relay.said_tokens() >= 0


@pytest.mark.parametrize(
    "broken",
    [
        b"data: {\n\n",
        b"data: 5\n\n",
        b"data: {}, {}\n\n",
        b'data: {"a": NaN}\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
        b"data: \xff\n\n",
        b'data: {"a": 1\n\ndata: "b": 2}\n\n',
        event(chunk("b")) + b"data: {\n\n",
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_an_event_that_is_none_ends_the_stream_after_those_before_it(broken: bytes, together: bool) -> None:
    good = event(chunk("a"))
    relay = Passed(choices=1, show_usage=False)
    said = relay.feed(good + broken) if together else relay.feed(good)
    assert said.startswith(good)
    with pytest.raises(BadReply):
        relay.feed(b"" if together else broken)
        relay.feed(b"")


@pytest.mark.parametrize("together", [True, False])
def test_an_emoji_cut_in_two_leaves_as_it_came(together: bool) -> None:
    halves = [
        b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % half for half in (rb"\\\ud83d", rb"\ude00 \\ud83d")
    ]
    relay = Passed(choices=1, show_usage=False)
    parts = [b"".join(halves)] if together else halves
    assert b"".join(relay.feed(part) for part in parts) == b"".join(halves)
    assert relay.said_tokens() > 0, "what can be read of it is counted"
