"""Same bytes in, same meaning out: what reaches an upstream of OpenAI's format, and what comes back from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office
from tests.gateway.test_chat import CHAT, END, PATH, pieces
from tests.gateway.test_hostile import FUZZED, held

pytestmark = pytest.mark.once

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**200), 2**200) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KNOWN = {"model", "messages", "stream", "stream_options", "n"}
UNKNOWN = st.dictionaries(TEXT.filter(lambda name: name not in KNOWN), JSON, max_size=5)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": TEXT, "content": TEXT | st.none() | st.lists(JSON, max_size=2)}, optional={"x": JSON}
    ),
    min_size=1,
    max_size=3,
)


def meaning(text: bytes | str) -> Any:
    """All that JSON says, with the order of its names and the kinds of its numbers."""
    return repr(json.loads(text, object_pairs_hook=lambda pairs: [("object", pairs)]))


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_caller_sends_reaches_the_upstream_unchanged(
    office: Office, upstream: FakeUpstream, stream: bool
) -> None:
    with held(office) as ask:

        @FUZZED
        @given(before=UNKNOWN, messages=MESSAGES, after=UNKNOWN, escaped=st.booleans(), spaced=st.booleans())
        def passes(before: Any, messages: Any, after: Any, escaped: bool, spaced: bool) -> None:
            asked = {**before, "model": "fake-chat@Fake", "messages": messages, **after}
            asked |= {"stream": True, "stream_options": {"x": 1}} if stream else {}
            body = json.dumps(asked, ensure_ascii=escaped, indent=1 if spaced else None).encode()
            assert ask(PATH, body).status == 200
            wanted = {**asked, "model": "fake-chat"}
            wanted |= {"stream_options": {"x": 1, "include_usage": True}} if stream else {}
            assert meaning(upstream.requests[-1].body) == meaning(json.dumps(wanted))

        passes()


def test_what_an_upstream_answers_reaches_the_caller_byte_for_byte(office: Office, upstream: FakeUpstream) -> None:
    with held(office) as ask:

        @FUZZED
        @given(more=UNKNOWN, said=TEXT, extra=JSON, escaped=st.booleans(), spaced=st.booleans())
        def passes(more: Any, said: str, extra: Any, escaped: bool, spaced: bool) -> None:
            choice = {"extra": extra, "message": {"content": said, "odd": extra}, "finish_reason": "stop"}
            more.pop("error", None)
            answer = {**more, "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
            body = json.dumps(answer, ensure_ascii=escaped, indent=2 if spaced else None).encode()
            upstream.raw(CHAT, body, content_type="application/json; odd=1")
            reply = ask(PATH, {"model": "fake-chat", "messages": [{}]})
            assert (reply.status, reply.headers["content-type"]) == (200, "application/json; odd=1")
            assert reply.body == body

        passes()


def test_what_an_upstream_streams_reaches_the_caller_byte_for_byte(office: Office, upstream: FakeUpstream) -> None:
    asked = {"model": "fake-chat", "messages": [{}], "stream": True, "stream_options": {"include_usage": True}}
    with held(office) as ask:

        @FUZZED
        @given(said=st.lists(st.tuples(UNKNOWN, TEXT, JSON), min_size=1, max_size=4), size=st.integers(1, 60))
        def passes(said: Any, size: int) -> None:
            events = []
            for more, text, extra in said:
                more.pop("error", None)
                more.pop("usage", None)
                chunk = {**more, "choices": [{"index": 0, "delta": {"content": text}, "odd": extra}]}
                events.append(b"data: " + json.dumps(chunk, ensure_ascii=bool(size % 2)).encode() + b"\n\n")
            finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None}
            used = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}, "z": 1.50}
            events += [b"data: %b\n\n" % json.dumps(one).encode() for one in (finish, used)]
            whole = b"".join([*events, END])
            upstream.behave(CHAT, pieces(*(whole[at : at + size * 7] for at in range(0, len(whole), size * 7))))
            reply = ask(PATH, asked)
            assert (reply.status, reply.body) == (200, whole)

        passes()


def body_with(number: str) -> bytes:
    return f'{{"model": "fake-chat", "messages": [{{}}], "temperature": {number}}}'.encode()


@pytest.mark.parametrize("number", ["NaN", "-NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e99999", "0x1", "1_0"])
def test_numbers_that_json_has_not_are_refused(office: Office, upstream: FakeUpstream, number: str) -> None:
    for more in ("", ', "seed": 1234567890123456789012'):
        body = body_with(number + more)
        reply = office.ask(PATH, body)
        assert (reply.status, reply.error["code"]) in ((400, "invalid_request"), (400, "bad_request"))
    assert upstream.total_calls == 0


@pytest.mark.parametrize(
    ("number", "passed"),
    [
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("1" + "0" * 400, "1" + "0" * 400),
        ("1e308", "1e308"),
        ("5e-324", "5e-324"),
        ("-0.0", "-0.0"),
        ("1.0", "1.0"),
        ("1", "1"),
        ("0.1", "0.1"),
        ("1e-400", "0.0"),
        ("0.1234567890123456789", "0.12345678901234568"),
    ],
)
def test_numbers_keep_their_value_and_their_kind(
    office: Office, upstream: FakeUpstream, number: str, passed: str
) -> None:
    """A float is one of 64 bits, which is what any upstream makes of it."""
    assert office.ask(PATH, body_with(number)).status == 200
    sent = json.loads(upstream.requests[-1].body, parse_int=str, parse_float=float)["temperature"]
    wanted = json.loads(passed, parse_int=str, parse_float=float)
    assert repr(sent) == repr(wanted)


def test_of_a_name_that_comes_twice_the_last_counts(office: Office, upstream: FakeUpstream) -> None:
    body = b'{"model": "x", "seed": 1, "messages": [{"a": 1, "a": 2}], "seed": 2, "model": "fake-chat"}'
    assert office.ask(PATH, body).status == 200
    assert upstream.requests[-1].body.count(b'"seed"') == 1
    sent = upstream.requests[-1].json
    assert (sent["seed"], sent["messages"], list(sent)) == (2, [{"a": 2}], ["model", "seed", "messages"])
