"""Every parser of an answer, whatever its dialect and operation: only UpstreamErrors, sound replies, bounded time."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from providers import dialects
from providers.dialects.bodies import MAX_DEPTH
from providers.errors import UpstreamError
from providers.wire import Document, Embeddings, Operation, Ranking, Reply, Speech, Transcript
from tests.providers.costs import grows_linearly
from tests.providers.values import anything, mutated, nested, paths, put

GOLDEN = Path(__file__).parent / "golden"
JSON = {"content-type": "application/json"}
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
FINISH = ("stop", "length", "tool_calls", "content_filter", "function_call")


@dataclass(frozen=True)
class Parser:
    dialect: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.dialect}-{self.operation}"

    def __call__(self, status: int, headers: dict[str, str], body: bytes) -> Reply | None:
        """The reply, which is sound; None if there is an error instead, which says what to do."""
        try:
            reply = dialects.get(self.dialect).parse(self.operation, status, headers, body)
        except UpstreamError as error:
            assert error.message
            assert error.hint
            assert error.step
            return None
        check(self.operation, reply)
        return reply


PARSERS = [Parser(name, one) for name in dialects.names() for one in sorted(dialects.operations(name))]
every_parser = pytest.mark.parametrize("parser", PARSERS, ids=str)


def check(operation: Operation, reply: Reply) -> None:
    """The reply is what `providers.wire` says that it is."""
    match operation:
        case Operation.CHAT:
            assert isinstance(reply, dict)
            assert reply["choices"]
            assert {type(reply[name]) for name in ("id", "model", "object")} == {str}
            assert {type(count) for name, count in reply.get("usage", {}).items() if name in COUNTS} <= {int}
            for choice in reply["choices"]:
                ChatCompletionMessage.model_validate({**choice["message"], "annotations": None, "audio": None})
                assert choice["finish_reason"] in FINISH
                assert type(choice["index"]) is int
            orjson.dumps(reply)
        case Operation.EMBEDDINGS:
            assert isinstance(reply, Embeddings)
            assert all(type(number) is float and math.isfinite(number) for vector in reply for number in vector)
            orjson.dumps(reply.usage)
        case Operation.RERANK:
            assert isinstance(reply, Ranking)
            assert all(score.position >= 0 and math.isfinite(score.score) for score in reply)
            orjson.dumps(reply.usage)
        case Operation.SPEECH:
            assert isinstance(reply, Speech)
            assert reply.audio
        case Operation.TRANSCRIPTION:
            assert isinstance(reply, Transcript)
            assert isinstance(reply.text, str)
        case Operation.OCR:
            assert isinstance(reply, Document)
            assert all(isinstance(page, str) for page in reply)
        case Operation.MODELS:
            assert isinstance(reply, list)
            assert all(isinstance(model.id, str) and isinstance(model.owned_by, str) for model in reply)


@dataclass(frozen=True)
class Golden:
    """A golden reply: one JSON document, JSON documents that come one by one, or other bytes."""

    headers: dict[str, str]
    kind: str
    value: Any

    def body(self, value: Any) -> bytes:
        """The same with another value."""
        if self.kind == "base64":
            return base64.b64decode(value)
        if self.kind == "json" or not isinstance(value, list):
            return json.dumps(value).encode()
        template = {"events": "data: %s\n\n", "messages": "%s\n"}[self.kind]
        return "".join(template % json.dumps(one) for one in value).encode()


@cache
def replies(dialect: str) -> tuple[Golden, ...]:
    """The golden replies of a dialect; those of OpenAI's format for a dialect that has none."""
    return tuple(_replies(dialect)) or replies("openai")


def _replies(dialect: str) -> Iterator[Golden]:
    for file in sorted((GOLDEN / dialect).glob("*.json")):
        case = json.loads(file.read_text())
        found = case.get("reply") or {name: case[name] for name in ("messages",) if name in case}
        for kind in ("json", "events", "messages", "base64"):
            if isinstance(found, dict) and kind in found:
                yield Golden(found.get("headers", {}), kind, found[kind])


@cache
def documents(dialect: str) -> tuple[Golden, ...]:
    """The golden replies that are made of JSON."""
    return tuple(one for one in replies(dialect) if one.kind != "base64") or documents("openai")


@cache
def problems() -> tuple[Any, ...]:
    """Bodies of errors of all dialects."""
    found: list[Any] = []
    for file in sorted(GOLDEN.glob("*/errors.json")):
        for case in json.loads(file.read_text())["cases"]:
            found.append(case.get("json") if isinstance(case, dict) else case[1])
    return tuple(body for body in found if body is not None)


@every_parser
def test_it_reads_a_golden_reply(parser: Parser) -> None:
    assert any(
        parser(200, one.headers, one.body(one.value)) is not None
        for one in (*replies(parser.dialect), *replies("openai"))
    )


statuses = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 413, 422, 424, 429, 498, 500, 503])
headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "location", "date", "x-amzn-errortype", "x-amzn-requestid"]),
    st.sampled_from(["application/json", "text/html", "text/event-stream", "audio/mpeg", "7", "x:#", "", "é", "\0"])
    | st.text(max_size=20),
)


@every_parser
@settings(max_examples=50)
@given(data=st.data())
def test_a_reply_that_is_almost_right_raises_nothing_but_upstream_errors(parser: Parser, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(documents(parser.dialect)))
    parser(200, one.headers, one.body(data.draw(mutated(one.value))))


@every_parser
@settings(max_examples=30)
@given(status=statuses, headers=headers, body=st.binary(max_size=60) | anything.map(lambda it: json.dumps(it).encode()))
def test_an_answer_of_any_kind_raises_nothing_but_upstream_errors(
    parser: Parser, status: int, headers: dict[str, str], body: bytes
) -> None:
    parser(status, headers, body)


@every_parser
@settings(max_examples=30)
@given(data=st.data(), status=statuses, headers=headers)
def test_an_error_that_is_almost_right_raises_nothing_but_upstream_errors(
    parser: Parser, data: st.DataObject, status: int, headers: dict[str, str]
) -> None:
    problem = data.draw(st.sampled_from(problems()).flatmap(mutated))
    parser(status, {**JSON, **headers}, json.dumps(problem).encode())


@every_parser
@settings(max_examples=30)
@given(data=st.data())
def test_bytes_that_were_broken_on_the_way_raise_nothing_but_upstream_errors(
    parser: Parser, data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(replies(parser.dialect)))
    broken = bytearray(one.body(one.value))
    start = data.draw(st.integers(0, len(broken)))
    broken[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    parser(200, one.headers, bytes(broken))


@every_parser
def test_json_that_is_nested_deeply_raises_nothing_but_upstream_errors(parser: Parser) -> None:
    depths = (MAX_DEPTH - 10, MAX_DEPTH + 10, 1000, 50_000)
    for one in documents(parser.dialect):
        for path in paths(one.value):
            if sum(name for name in path if isinstance(name, int)) < 3:  # no need for each number of a vector
                whole = one.body(put(one.value, path, "HERE"))
                for depth in depths[:3:2]:
                    parser(200, one.headers, whole.replace(b'"HERE"', nested(depth)))
    for depth in depths:
        for body in (nested(depth), b'{"error": ' + nested(depth) + b"}", b"[" * depth + b"]" * depth):
            for status in (200, 400, 404, 500):
                parser(status, JSON, body)


# Much of what is awkward for a reader: each is made as long as is asked.
LONG: dict[str, Callable[[int], bytes]] = {
    "an open tag": lambda size: b"<" * size,
    "many tags": lambda size: b"<p><head " * (size // 9),
    "many comments": lambda size: b"<!--<!" * (size // 6),
    "spaces": lambda size: b" " * size,
    "a message": lambda size: b'{"error": {"message": "' + b"model " * (size // 6) + b'"}}',
    "a message like a key": lambda size: b'{"message": "' + b"sk-" * (size // 3) + b'"}',
    "a message of dots": lambda size: b'{"detail": "' + b"a.a-" * (size // 4) + b'"}',
    "a message of addresses": lambda size: b'{"detail": "' + b"https://a@b:" * (size // 12) + b'"}',
    "a code": lambda size: b'{"error": {"code": "' + b"9" * size + b'"}}',
    "digits": lambda size: b'{"error": {"code": ' + b"9" * size + b"}}",
    "many members": lambda size: b"[" + b"{}," * (size // 3) + b"0]",
    "many lists": lambda size: b'{"data": [' + b"[]," * (size // 3) + b"0]}",
    "many details": lambda size: b'{"error": {"details": [' + b"{}," * (size // 3) + b"0]}}",
    "many lines": lambda size: b"data: {}\n" * (size // 9),
    "base64": lambda size: b'{"data": [{"embedding": "' + b"AAAA" * (size // 4) + b'"}]}',
}


@every_parser
def test_the_time_for_a_long_answer_grows_with_its_length(parser: Parser) -> None:
    for make in LONG.values():

        def reading(size: int, make: Callable[[int], bytes] = make) -> Callable[[], object]:
            body = make(size)

            def act() -> None:
                for status in (200, 404):
                    parser(status, JSON, body)

            return act

        assert grows_linearly(reading, 16_000), make(20)
