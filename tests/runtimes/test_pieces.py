"""Objects out of bodies: however they are cut, however wrong they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadReply
from runtimes.drivers._pieces import JSONEvents, JSONLines
from runtimes.drivers.steps import Pieces
from tests.runtimes.playing import cut, events, lines

OBJECTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8) | st.none(), max_size=4), max_size=8
)
PLACES = st.lists(st.integers(min_value=0, max_value=400), max_size=12)


def taken(pieces: Pieces, chunks: list[bytes]) -> list[Any]:
    found = [one for chunk in chunks for one in pieces.feed(chunk)]
    return [*found, *pieces.close()]


@given(OBJECTS, PLACES)
def test_lines_are_the_same_however_they_are_cut(objects: list[Any], places: list[int]) -> None:
    assert taken(JSONLines(), cut(lines(*objects), *places)) == objects


@given(OBJECTS, PLACES)
def test_events_are_the_same_however_they_are_cut(objects: list[Any], places: list[int]) -> None:
    assert taken(JSONEvents(), cut(events(*objects), *places)) == objects


def test_a_last_line_needs_no_newline_and_blank_ones_are_passed_over() -> None:
    assert taken(JSONLines(), [b'\r\n{"a": 1}\r\n\n  \n', b'{"b": 2}']) == [{"a": 1}, {"b": 2}]


def test_comments_and_names_of_events_are_passed_over() -> None:
    sent = b': hello\n\nevent: x\nid: 7\nretry: 10\ndata: {"a":\ndata: 1}\n\n'
    assert taken(JSONEvents(), cut(sent, *range(len(sent)))) == [{"a": 1}]


@pytest.mark.parametrize("pieces", [JSONLines, JSONEvents])
@pytest.mark.parametrize("wrong", [b"<html>", b"[1]", b'"text"', b"{", b"\xff\xfe", b"null"])
def test_what_is_no_object_is_a_bad_reply(pieces: type[JSONLines | JSONEvents], wrong: bytes) -> None:
    sent = wrong + b"\n" if pieces is JSONLines else b"data: " + wrong + b"\n\n"
    with pytest.raises(BadReply):
        taken(pieces(), [sent])


@pytest.mark.parametrize("pieces", [JSONLines, JSONEvents])
def test_a_line_that_never_ends_is_given_up(pieces: type[JSONLines | JSONEvents]) -> None:
    one, fed = pieces(max_piece_bytes=10_000), 0
    with pytest.raises(BadReply, match="too long"):
        for _ in range(100):
            list(one.feed(b'data: {"a": "' + b"x" * 1000))
            fed += 1000
    assert fed <= 11_000


def test_what_came_before_a_wrong_line_is_given_out_first() -> None:
    found = []
    with pytest.raises(BadReply):
        for one in JSONLines().feed(json.dumps({"a": 1}).encode() + b"\noops\n"):
            found.append(one)
    assert found == [{"a": 1}]
