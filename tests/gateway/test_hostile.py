"""Requests that no client would send, and upstreams that answer anything: clear errors, and never one of ours."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.breaker import Breaker
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office, Reply, chat_body, send
from tests.gateway.test_ocr import DOCUMENT, reads
from usage.records import Usage

pytestmark = pytest.mark.once

CHAT = "/v1/chat/completions"
PATHS = [CHAT, "/v1/embeddings", "/v1/rerank", "/v1/audio/speech", "/v1/ocr", "/v1/audio/transcriptions"]
MODELS = ["fake-chat", "fake-embedding", "fake-rerank", "fake-tts", "fake-ocr", "fake-asr"]
FUZZED = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXTS = {
    "model": st.sampled_from(MODELS) | JSON,
    "messages": JSON
    | st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "role": st.sampled_from(["user", "system", "tool", "assistant"]) | JSON,
                "content": JSON
                | st.lists(
                    st.fixed_dictionaries({}, optional={"type": st.sampled_from(["text", "image_url"]), "text": JSON,
                                                        "image_url": JSON, "input_audio": JSON}),
                    max_size=2,
                ),
                "tool_calls": JSON,
            },
        ),
        max_size=2,
    ),
    "stream": st.booleans() | JSON,
}  # fmt: skip
NAMES = ["input", "query", "documents", "n", "max_tokens", "stream_options", "tools", "user", "voice", "top_n",
         "encoding_format", "dimensions", "document", "stream_format", "service_tier",
         "response_format", "return_documents", "language", "speed"]  # fmt: skip
BODIES = st.fixed_dictionaries({}, optional={**TEXTS, **dict.fromkeys(NAMES, JSON)})


@contextmanager
def held(office: Office) -> Iterator[Callable[..., Reply]]:
    """One gateway for many requests; no target of it rests for long."""
    breaker = Breaker(clock=partial(next, count(step=1000)))
    with asyncio.Runner() as runner:
        place = office.gateway(breaker=breaker)
        gateway = runner.run(place.__aenter__())

        def ask(path: str, body: Any, **how: Any) -> Reply:
            return runner.run(asyncio.wait_for(send(gateway, path, body, token=office.token, **how), 60))

        try:
            yield ask
        finally:
            runner.run(place.__aexit__(None, None, None))


def refused_clearly(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.body
    assert reply.error["message"] and reply.error["type"]
    assert set(reply.error) == {"message", "type", "param", "code"}


def test_any_bytes_are_refused_clearly(office: Office, upstream: FakeUpstream) -> None:
    with held(office) as ask:

        @FUZZED
        @given(
            body=st.binary(max_size=80),
            path=st.sampled_from(PATHS),
            kind=st.sampled_from(
                [
                    "application/json",
                    "multipart/form-data; boundary=x",
                    "multipart/form-data",
                    "multipart/form-data; boundary=\xff",
                ]
            ),
        )
        def fuzz(body: bytes, path: str, kind: str) -> None:
            refused_clearly(ask(path, body, headers={"content-type": kind}))

        fuzz()
    assert upstream.total_calls == 0


@pytest.mark.parametrize("dialect", ["mistral_ocr", "paddleocr"])
def test_any_json_is_answered_or_refused_clearly(office: Office, upstream: FakeUpstream, dialect: str) -> None:
    reads(office, dialect)
    with held(office) as ask:

        @FUZZED
        @given(body=BODIES, path=st.sampled_from(PATHS[:5]))
        def fuzz(body: dict[str, Any], path: str) -> None:
            reply = ask(path, json.dumps(body).encode())
            if reply.status != 200:
                refused_clearly(reply)

        fuzz()


HOSTILE = {
    "deep": b'{"model": "fake-chat", "messages": [], "x": ' + b"[" * 400 + b"]" * 400 + b"}",
    "deeper": b'{"model": "fake-chat", "messages": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep, with a long number": b'{"model": "fake-chat", "messages": [], "n": 1234567890123456789012, "x": '
    + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of 5000 digits": b'{"model": "fake-chat", "messages": [], "n": ' + b"9" * 5000 + b"}",
    "half a surrogate pair": rb'{"model": "fake-chat", "messages": [{"role": "user", "content": "\ud800"}]}',
    "half a surrogate pair beside a long number":
        rb'{"model": "fake-chat", "messages": [{"role": "user", "content": "\ud800"}], "seed": 1234567890123456789012}',
    "half a surrogate pair in the model": rb'{"model": "fake\ud800", "messages": [], "seed": 1234567890123456789012}',
    "NaN": b'{"model": "fake-chat", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "NaN beside a long number":
        b'{"model": "fake-chat", "messages": [{}], "temperature": NaN, "seed": 1234567890123456789012}',
    "not UTF-8": b'{"model": "fake-chat", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "UTF-16": '{"model": "fake-chat", "messages": [{"role": "user", "content": "x"}]}'.encode("utf-16"),
    "UTF-16, a long number": '{"model": "fake-chat", "messages": [{}], "n": 1234567890123456789012}'.encode("utf-16"),
    "two objects": b'{"model": "fake-chat"}{"model": "fake-chat"}',
    "a comma too much": b'{"model": "fake-chat", "messages": [],}',
    "NUL in the model": rb'{"model": "fake-chat\u0000", "messages": []}',
    "a very long model": b'{"model": "' + b"x" * 1_000_000 + b'", "messages": []}',
    "an @ alone": b'{"model": "@", "messages": [{"role": "user", "content": "x"}]}',
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("what", list(HOSTILE))
def test_what_json_allows_and_nobody_sends_is_refused(office: Office, upstream: FakeUpstream, what: str) -> None:
    for stream in (False, True):
        body = HOSTILE[what]
        if stream:
            body = body.replace(b"{", b'{"stream": true, ', 1)
        refused_clearly(office.ask(CHAT, body))
    assert upstream.total_calls == 0
    assert all(record.status >= 400 and record.usage == Usage() for record in office.records())


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"model": "secret-one",\n "messages": }', "line 2, column 14"),
        (b'{"model": "secret-one", "temperature": NaN}', "line 1, column 40"),
        (b'{"model": "secret-one", "seed": 12345678901234567890, "top_p": NaN}', "line 1, column 64"),
        (rb'{"model": "secret-one", "user": "\ud800"}', "line 1, column 34"),
        (rb'{"model": "secret-one", "seed": 12345678901234567890, "user": "\ud800"}', "line 1, column 64"),
        (b'{"model": "secret-one",\n"user": "\xff"}', "not UTF-8: line 2, byte 10"),
        (b'{"model": "secret-one"', "line 1, column 23"),
        (b"", "line 1, column 1"),
    ],
)
def test_a_body_that_is_no_json_is_told_where_it_is_wrong_and_never_quoted(
    office: Office, body: bytes, where: str
) -> None:
    reply = office.ask(CHAT, body)
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")
    assert reply.error["message"].startswith("The request's body is not valid JSON (")
    assert where in reply.error["message"]
    assert not {"secret", "NaN", "ud800", "1234"} & set(re.findall(r"\w+", reply.error["message"]))


def test_any_answer_of_an_upstream_is_passed_or_named_and_booked_once(office: Office, upstream: FakeUpstream) -> None:
    asked = 0
    reads(office, "mistral_ocr")
    wrong: st.SearchStrategy[Any] = st.sampled_from([5, True, "x", [], [5], {}, {"a": 1}, [[]], 1.5, None, -1, 2**70])
    message = st.fixed_dictionaries(
        {}, optional={"role": wrong, "content": wrong, "tool_calls": wrong, "reasoning_content": wrong}
    )
    choice = st.fixed_dictionaries(
        {}, optional={"message": wrong | message, "delta": wrong | message, "finish_reason": wrong}
    )
    usage = st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
             "seconds", "search_units", "billed_units"],
            wrong | st.fixed_dictionaries({}, optional={"cached_tokens": wrong, "reasoning_tokens": wrong}),
        ),
    )  # fmt: skip
    answers = st.fixed_dictionaries(
        {},
        optional={
            "choices": wrong | st.lists(choice, max_size=2),
            "usage": wrong | usage,
            "data": wrong,
            "results": wrong,
            "error": st.none() | wrong,
            "created": wrong,
            "id": wrong,
            "service_tier": wrong,
            "pages": wrong | st.lists(wrong | st.fixed_dictionaries({"markdown": wrong}), max_size=2),
            "usage_info": wrong | usage,
            "type": wrong | st.sampled_from(["speech.audio.done", "speech.audio.delta"]),
        },
    )
    with held(office) as ask:

        @FUZZED
        @given(
            answer=answers | wrong,
            status=st.sampled_from([200, 200, 200, 201, 204, 304, 400, 404, 418, 599]),
            path=st.sampled_from([CHAT, "/v1/embeddings", "/v1/rerank", "/v1/audio/speech", "/v1/ocr"]),
            form=st.sampled_from(["json", "whole for a stream", "stream"]),
        )
        def fuzz(answer: Any, status: int, path: str, form: str) -> None:
            nonlocal asked
            asked += 1
            stream = form != "json" and path in (CHAT, "/v1/audio/speech")
            body = json.dumps(answer).encode()
            if form == "stream" and stream:
                event = b"data: " + body + b"\n\n"
                upstream.raw(path.removeprefix("/v1"), event, status=status, content_type="text/event-stream")
            else:
                upstream.raw(path.removeprefix("/v1"), body, status=status, content_type="application/json")
            payload = chat_body(MODELS[PATHS.index(path)], input="x", query="q", documents=["a"], stream=stream)
            reply = ask(path, payload if path != "/v1/ocr" else {"model": "fake-ocr", "document": DOCUMENT})
            assert reply.status != 500, reply.body
            if reply.status >= 400:
                assert set(reply.error) == {"message", "type", "param", "code"}
            if stream and reply.status == 200:
                last = reply.events[-1]
                assert last == "[DONE]" or "error" in last or last["type"] == "speech.audio.done"

        fuzz()
    records = office.records()
    assert len(records) == len({record.id for record in records}) == asked
