"""Every decoder of a stream, whatever its dialect: the same events however the bytes are cut, an UpstreamError for
whatever cannot be read, and memory and time that are bounded.
"""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.dialects.base import StreamDecoder
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.errors import BadReply, UpstreamError
from tests.providers.costs import grows_linearly
from tests.providers.streams import Stream, Streaming, frame, streaming
from tests.providers.values import anything, at, mutated, nested, paths, put

STREAMING = list(streaming())
GOLDEN = [(one, stream) for one in STREAMING for stream in one.streams()]
Outcome = tuple[list[dict[str, Any]], bool, type[UpstreamError] | None, str]

every_decoder = pytest.mark.parametrize("one", STREAMING, ids=str)
every_golden_stream = pytest.mark.parametrize(
    ("one", "stream"), GOLDEN, ids=[f"{one}-{stream.name}" for one, stream in GOLDEN]
)


def outcome(one: Streaming, pieces: Iterable[bytes]) -> Outcome:
    """The events, whether the stream was complete, and the error that ended it."""
    decoder = one.decoder()
    events: list[dict[str, Any]] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.close()
    except UpstreamError as error:
        return events, decoder.finished, type(error), str(error)
    return events, decoder.finished, None, ""


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


def test_every_dialect_that_streams_has_a_golden_stream() -> None:
    assert STREAMING
    assert [str(one) for one in STREAMING if not one.streams()] == []


@every_golden_stream
def test_a_golden_stream_is_decoded_to_its_end(one: Streaming, stream: Stream) -> None:
    events, finished, error, _ = outcome(one, [stream.data])
    assert (finished, error) == (True, None)
    assert events


@every_golden_stream
def test_a_stream_cut_at_any_one_place_gives_the_same_events(one: Streaming, stream: Stream) -> None:
    data, whole = stream.data, outcome(one, [stream.data])
    for place in range(len(data) + 1):
        assert outcome(one, [data[:place], data[place:]]) == whole, place


@every_golden_stream
def test_a_stream_in_single_bytes_gives_the_same_events(one: Streaming, stream: Stream) -> None:
    data = stream.data
    assert outcome(one, [data[i : i + 1] for i in range(len(data))]) == outcome(one, [data])


@every_golden_stream
@settings(max_examples=30)
@given(data=st.data())
def test_a_stream_cut_at_many_places_gives_the_same_events(one: Streaming, stream: Stream, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(stream.data)), max_size=30))
    assert outcome(one, cut(stream.data, places)) == outcome(one, [stream.data])


@every_golden_stream
def test_a_stream_that_breaks_off_is_not_complete(one: Streaming, stream: Stream) -> None:
    """What came is told; once nothing is missing any more but a line's end, the stream is complete."""
    data = stream.data
    whole, complete = outcome(one, [data])[0], []
    for end in range(len(data)):
        decoder = one.decoder()
        events = decoder.feed(data[:end])
        assert events == whole[: len(events)]
        _, finished, error, _ = outcome(one, [data[:end]])
        assert error in (None, BadReply)
        complete.append(finished)
    assert complete == sorted(complete)
    assert not any(complete[: len(data) - len(stream.pieces[-1]) - len(stream.pieces[-2])])


# What is not as it should be


def checked(one: Streaming, data: bytes, places: Iterable[int]) -> Outcome:
    """The outcome, which the cuts do not change; its events are JSON."""
    whole = outcome(one, [data])
    assert outcome(one, cut(data, places)) == whole
    for event in whole[0]:
        assert isinstance(event, dict)
        orjson.dumps(event)
    return whole


cuts = st.lists(st.integers(0, 3000), max_size=8)


@every_golden_stream
@settings(max_examples=30)
@given(data=st.data())
def test_a_stream_with_other_json_in_an_event_raises_nothing_but_upstream_errors(
    one: Streaming, stream: Stream, data: st.DataObject
) -> None:
    pieces = list(stream.pieces)
    for position in data.draw(st.sets(st.integers(0, len(pieces) - 1), min_size=1, max_size=3)):
        value = stream.load(position)
        text = json.dumps(data.draw(anything if value is None else mutated(value)))
        pieces[position] = stream.with_text(position, text.encode())
    checked(one, b"".join(pieces), data.draw(cuts))


@every_golden_stream
@settings(max_examples=30)
@given(data=st.data())
def test_a_stream_with_events_out_of_order_raises_nothing_but_upstream_errors(
    one: Streaming, stream: Stream, data: st.DataObject
) -> None:
    pieces = data.draw(st.lists(st.sampled_from(stream.pieces), max_size=12))
    checked(one, b"".join(pieces), data.draw(cuts))


@every_golden_stream
@settings(max_examples=30)
@given(data=st.data())
def test_a_stream_with_broken_bytes_raises_nothing_but_upstream_errors(
    one: Streaming, stream: Stream, data: st.DataObject
) -> None:
    broken = bytearray(stream.data)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(broken)))
        end = start + data.draw(st.integers(0, 20))
        broken[start:end] = data.draw(st.binary(max_size=8) | st.just(bytes(broken[start : end + 20])))
    checked(one, bytes(broken), data.draw(cuts))


@every_decoder
@settings(max_examples=30)
@given(
    data=st.binary(max_size=400)
    | st.lists(st.sampled_from([b"data: ", b"\n", b"{}", b"[]", b"\r\n", b"event: x", b"\0", b'{"error":{}}'])).map(
        b"".join
    ),
    places=cuts,
)
def test_any_bytes_raise_nothing_but_upstream_errors(one: Streaming, data: bytes, places: list[int]) -> None:
    checked(one, data, places)


@every_decoder
def test_an_error_stays_and_what_follows_it_is_not_decoded(one: Streaming) -> None:
    stream = one.streams()[0]
    decoder = one.decoder()
    broken = b"".join([*stream.pieces[:2], b'data: {"x\n\n{"x\n', *stream.pieces[2:]])
    raised = []
    for act in (lambda: decoder.feed(broken), lambda: decoder.feed(stream.data), decoder.close, decoder.close):
        try:
            act()
        except BadReply as error:
            raised.append(str(error))
    assert len(raised) >= 3
    assert len(set(raised)) == 1
    assert not decoder.finished


# Bounds


def unfinished(one: Streaming, stream: Stream) -> list[bytes]:
    """The events of a stream up to the last one that does not end it."""
    decoder = one.decoder()
    taken = []
    for piece in stream.pieces:
        decoder.feed(piece)
        if decoder.finished or _ends(decoder):
            break
        taken.append(piece)
    return taken


def _ends(decoder: StreamDecoder) -> bool:
    """Whether a stream that ended here would be complete."""
    other = copy.deepcopy(decoder)
    other.close()
    return other.finished


ENDLESS: dict[str, Callable[[int], bytes]] = {
    "a line": lambda size: b"x" * size,
    "an event's data": lambda size: b"data: " + b"x" * size,
    "an event of many lines": lambda size: b"data: x\n" * (size // 8),
    "a comment": lambda size: b": " + b"x" * size,
    "a value": lambda size: b'data: {"a": "' + b"x" * size,
    "a frame": lambda size: frame("contentBlockDelta", b"x" * size),
    "nothing but empty bytes": lambda size: bytes(size),
}


@every_decoder
@pytest.mark.parametrize("what", ENDLESS)
def test_an_event_without_an_end_is_refused_at_the_stated_size(one: Streaming, what: str) -> None:
    chunk, fed = 64 * 1024, 0
    data = ENDLESS[what](MAX_EVENT_BYTES + 3 * chunk)
    decoder = one.decoder()
    with pytest.raises(BadReply):
        for start in range(0, len(data), chunk):
            fed = start + chunk
            decoder.feed(data[start:fed])
    assert fed <= MAX_EVENT_BYTES + 2 * chunk
    assert weight(decoder) < 4 * chunk


@every_decoder
@pytest.mark.parametrize("filler", [b": keep-alive\n", b"\n", b"id: 7\n", b"retry: 5\r\n\r\n", b"event: ping\n\n"])
def test_keeping_a_stream_alive_costs_no_memory(one: Streaming, filler: bytes) -> None:
    decoder = one.decoder()
    try:
        for _ in range(200):
            assert decoder.feed(filler * 100) == []
    except BadReply:  # a filler of another format
        pass
    assert weight(decoder) < 4096


@every_golden_stream
def test_a_long_answer_is_not_kept(one: Streaming, stream: Stream) -> None:
    pieces = unfinished(one, stream)
    decoder = one.decoder()
    weights = []
    for _ in range(2):
        for _ in range(100):
            for piece in pieces:
                decoder.feed(piece)
        weights.append(weight(decoder))
    assert weights[1] < weights[0] + 1000


@every_golden_stream
def test_an_answer_of_ever_new_numbers_and_names_is_not_kept_either(one: Streaming, stream: Stream) -> None:
    """Each number and text in an event becomes another one in each of many events."""
    for position in range(len(stream.pieces) - 1):
        value = stream.load(position)
        for path in paths(value) if value is not None else ():
            old = at(value, path)
            if not isinstance(old, str | int) or old is True or old is False:
                continue
            decoder = one.decoder()
            weights = []
            try:
                for number in range(400):
                    new = f"{old}{number}" if isinstance(old, str) else number
                    decoder.feed(stream.with_text(position, json.dumps(put(value, path, new)).encode()))
                    if number in (199, 399):
                        weights.append(weight(decoder))
            except BadReply:  # enough is enough
                continue
            assert weights[1] < weights[0] + 500, path


def weight(decoder: StreamDecoder) -> int:
    """How many bytes a decoder keeps, about."""
    return len(pickle.dumps(vars(decoder)))


@every_decoder
@pytest.mark.parametrize("chunk", [16, 1024])
def test_the_time_for_one_large_event_grows_with_its_size(one: Streaming, chunk: int) -> None:
    suffix = one.streams()[0].suffix
    make: Callable[[int], bytes] = {
        ".sse": lambda size: b'data: {"a": "' + b"x" * size,
        ".ndjson": lambda size: b'{"a": "' + b"x" * size,
        ".frames": lambda size: frame("contentBlockDelta", {"a": "x" * size})[:-1],
    }[suffix]

    def feeding(size: int) -> Callable[[], object]:
        data = make(size)
        pieces = [data[i : i + chunk] for i in range(0, len(data), chunk)]

        def act() -> None:
            decoder = one.decoder()
            for piece in pieces:
                decoder.feed(piece)

        return act

    assert grows_linearly(feeding, 16 * 1024 if chunk == 16 else 128 * 1024)


@every_golden_stream
def test_the_time_for_many_events_grows_with_their_number(one: Streaming, stream: Stream) -> None:
    pieces = unfinished(one, stream)

    def feeding(count: int) -> Callable[[], object]:
        at_once, singly = b"".join(pieces) * count, pieces * count

        def act() -> None:
            decoder, other = one.decoder(), one.decoder()
            decoder.feed(at_once)
            for piece in singly:
                other.feed(piece)

        return act

    assert grows_linearly(feeding, 50)


@every_golden_stream
@pytest.mark.parametrize("depth", [100, 300, 1000, 1100, 100_000])
def test_json_that_is_nested_deeply_raises_nothing_but_upstream_errors(
    one: Streaming, stream: Stream, depth: int
) -> None:
    for position in range(len(stream.pieces)):
        value = stream.load(position)
        for path in paths(value) if value is not None else ():
            text = json.dumps(put(value, path, "HERE")).encode().replace(b'"HERE"', nested(depth))
            pieces = [*stream.pieces[:position], stream.with_text(position, text), *stream.pieces[position + 1 :]]
            outcome(one, [b"".join(pieces)])
