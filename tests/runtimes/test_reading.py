"""Reading what runtimes say: any JSON gives a value of the kind that is wanted, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadReply, BadRequest, ModelNotFound, ServerFailed, UpstreamError, WrongURL
from runtimes.drivers import _json
from runtimes.drivers._answers import document, refusal
from runtimes.drivers._names import checked, segment
from runtimes.drivers._openai import listed, named
from tests.runtimes.playing import ANYTHING, answer, play


@given(ANYTHING)
def test_every_reader_takes_anything(value: Any) -> None:
    assert isinstance(_json.members(value), dict)
    assert all(isinstance(one, dict) for one in _json.entries(value))
    assert len(_json.text(value, 20)) <= 20
    assert all(isinstance(one, str) and one for one in _json.texts(value))
    assert (size := _json.number(value)) is None or 0 <= size <= 2**63 - 1
    assert _json.positive(value) != 0
    assert (part := _json.share(value)) is None or 0 <= part <= 1
    assert _json.flag(value) in (None, True, False)
    assert (count := _json.parameters(value)) is None or 0 < count <= 2**63 - 1
    assert (at := _json.moment(value)) is None or at.tzinfo is UTC


@pytest.mark.parametrize(
    ("said", "count"),
    [("7.6B", 7_600_000_000), ("22.7M", 22_700_000), ("270m", 270_000_000), ("8x7B", None), ("", None), (4.0, 4)],
)
def test_counts_of_parameters_are_read(said: Any, count: int | None) -> None:
    assert _json.parameters(said) == count


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-08-04T14:56:49.277302595-07:00", datetime(2026, 8, 4, 21, 56, 49, 277302, UTC)),
        ("2026-08-04T14:56:49Z", datetime(2026, 8, 4, 14, 56, 49, 0, UTC)),
        ("2026-08-04T14:56:49", datetime(2026, 8, 4, 14, 56, 49, 0, UTC)),
        (1_795_265_438, datetime(2026, 11, 21, 12, 50, 38, 0, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        (0, None),
    ],
)
def test_times_are_read(said: Any, at: datetime | None) -> None:
    assert _json.moment(said) == at


def test_text_is_on_one_line_and_bounded() -> None:
    assert _json.text(" a\nb\0c ") == "a b c"
    assert len(_json.entries([{}] * 20_000)) == 10_000


@pytest.mark.parametrize("name", ["me/mine", "a b", "50%", "a:b", "ü", "a?b#c"])
def test_a_name_becomes_one_segment_of_a_path(name: str) -> None:
    assert not set(segment(name)) & set("/ ?#:")
    assert unquote(segment(name)) == name


@given(st.text(max_size=300))
def test_a_name_is_taken_as_it_is_or_refused(name: str) -> None:
    try:
        assert checked(name) == name
        assert 0 < len(name) <= 255
    except BadRequest:
        pass


@given(st.integers(min_value=300, max_value=599), st.binary(max_size=60) | ANYTHING.map(lambda one: answer(one).body))
def test_every_refusal_is_an_error_of_the_tree(status: int, body: bytes) -> None:
    error = refusal(answer(status=status, body=body), model="tiny")
    assert isinstance(error, UpstreamError)
    assert error.message
    assert error.hint


def test_a_404_about_a_model_means_the_model() -> None:
    for body in (b'{"error":"model \'x\' not found"}', b"404 page not found", b'{"detail":"Not found"}', b""):
        assert isinstance(refusal(answer(status=404, body=body), model="x"), ModelNotFound)
    assert isinstance(refusal(answer(status=404, body=b"404 page not found")), WrongURL)


def test_a_success_that_is_no_object_is_a_bad_reply() -> None:
    for body in (b"", b"[]", b"<html>", b'"x"'):
        with pytest.raises(BadReply):
            document(answer(body=body))
    with pytest.raises(ServerFailed):
        document(answer({}, status=500))


def test_a_list_of_models_has_each_of_them_once() -> None:
    data = [{"id": "b", "n": 1}, {"id": "a"}, {"id": "b", "n": 2}, {"id": ""}, {"id": 7}, "x", {}]
    assert named(answer({"data": data})) == [{"id": "b", "n": 1}, {"id": "a"}]
    assert play(listed(), [(("GET", "/v1/models"), answer(data))]).get() == [{"id": "b", "n": 1}, {"id": "a"}]
    for wrong in ({}, {"data": {}}, "x", 7):
        with pytest.raises(BadReply):
            named(answer(wrong))
