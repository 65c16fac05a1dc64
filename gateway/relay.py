"""What a streamed answer becomes on its way to the caller: whole events, counted, and the end held back.

An upstream that speaks OpenAI's format is passed on as the bytes it sent; any other is translated. The end of the
stream is for the pipeline to send, once the call is in the ledger.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import orjson

from gateway.estimate import streamed_tokens
from providers.dialects import StreamDecoder
from providers.dialects.failures import classify_body
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.errors import BadReply, UpstreamError

Out = TypeVar("Out", covariant=True)

DONE = b"data: [DONE]\n\n"
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_TELLING = (b'"usage"', b"[DONE]", b'"error"')
_HALVES = re.compile(rb"(\\\\)|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")  # of surrogate pairs, and what looks like them
KEPT_BYTES = 256 * 1024  # of what has been said, until it is counted


class Relay(Protocol[Out]):
    """`feed` takes the upstream's bytes and returns what the caller may have now, empty if nothing yet.

    An error that comes after something is raised by the next call, so that nothing is lost. `ended`: nothing more will
    come. `finished`: the answer is whole, though its usage may still come. `usage`: what the upstream counted, in
    OpenAI's shape. `tier`: the service tier that it says it served, or None. `end`: what tells a caller over HTTP that
    this was all.
    """

    @property
    def ended(self) -> bool: ...

    @property
    def finished(self) -> bool: ...

    @property
    def usage(self) -> Mapping[str, Any] | None: ...

    @property
    def tier(self) -> Any: ...

    @property
    def end(self) -> bytes: ...

    def feed(self, data: bytes) -> Out: ...

    def close(self) -> Out: ...

    def said_tokens(self) -> int: ...


class Events:
    """For callers in Python: chunks as objects."""

    end = DONE

    def __init__(
        self, decoder: StreamDecoder, *, choices: int, show_usage: bool, model: str, renamed: bool = False
    ) -> None:
        """`renamed`: the model is called so whatever the upstream says."""
        self.ended = False
        self._renamed = renamed
        self._to_finish = choices
        self.usage: Mapping[str, Any] | None = None
        self.tier: Any = None
        self._decoder = decoder
        self._show_usage = show_usage
        self._said = 0
        self._head: dict[str, Any] = {"id": "", "created": int(time.time()), "model": model}

    @property
    def finished(self) -> bool:
        return self.ended or self._to_finish <= 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        return self._passed(self._decoder.feed(data))

    def close(self) -> list[dict[str, Any]]:
        return self._passed(self._decoder.close())

    def said_tokens(self) -> int:
        return self._said

    def _passed(self, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.ended = self._decoder.finished
        passed = []
        for chunk in chunks:
            self.tier = chunk.get("service_tier") or self.tier
            usage = chunk.get("usage")
            if isinstance(usage, dict):
                self.usage = usage
                if not self._show_usage:
                    if not chunk.get("choices"):
                        continue
                    chunk = {name: value for name, value in chunk.items() if name != "usage"}
            self._to_finish -= _finishes(chunk)
            passed.append(self._completed(chunk))
        self._said += streamed_tokens(passed)
        return passed

    def _completed(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """With what OpenAI's types require."""
        for name, default in self._head.items():
            if not chunk.get(name):
                chunk[name] = default
        if self._renamed:
            chunk["model"] = self._head["model"]
        if not self._head["id"]:
            self._head["id"] = chunk["id"] or "chatcmpl-stream"
            chunk["id"] = self._head["id"]
        return chunk


class Translated:
    """For callers over HTTP: events of a dialect that is not OpenAI's, as OpenAI's."""

    end = DONE

    def __init__(self, events: Events) -> None:
        self._events = events

    @property
    def ended(self) -> bool:
        return self._events.ended

    @property
    def finished(self) -> bool:
        return self._events.finished

    @property
    def usage(self) -> Mapping[str, Any] | None:
        return self._events.usage

    @property
    def tier(self) -> Any:
        return self._events.tier

    def feed(self, data: bytes) -> bytes:
        return encoded(self._events.feed(data))

    def close(self) -> bytes:
        return encoded(self._events.close())

    def said_tokens(self) -> int:
        return self._events.said_tokens()


def encoded(chunks: list[dict[str, Any]]) -> bytes:
    """Chunks as server-sent events."""
    return b"".join(b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks)


class Passed:
    """For callers over HTTP: an upstream's events as the bytes that it sent, looked into only where they matter.

    `last`: the type of the event that ends the stream, where events have types.
    """

    def __init__(self, *, choices: int, show_usage: bool, last: str = "") -> None:
        self.ended = False
        self.end = DONE
        self._last = last
        self._to_finish = choices
        self.usage: Mapping[str, Any] | None = None
        self.tier: Any = None
        self._show_usage = show_usage
        self._tail = b""
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._said = 0
        self._any = False
        self._error: UpstreamError | None = None

    @property
    def finished(self) -> bool:
        return self.ended or self._to_finish <= 0

    def feed(self, data: bytes) -> bytes:
        if self._error is not None:
            raise self._error
        if self._tail:
            data = self._tail + data
        if not data.endswith(b"\n\n"):
            data, self._tail = _whole(data)
            if len(self._tail) > MAX_EVENT_BYTES:
                raise BadReply("An event of the stream is too large.", step="body")
            if not data:
                return b""
        else:
            self._tail = b""
        return self._pass(data)

    def close(self) -> bytes:
        if self._error is not None:
            raise self._error
        rest, self._tail = self._tail.strip(), b""
        passed = self._pass(rest + b"\n\n", torn=True) if rest else b""
        if self._error is not None and not passed:
            raise self._error
        if not self._any and not self.finished:
            raise BadReply("The upstream's answer is not a stream of events.", step="parse")
        return passed

    def said_tokens(self) -> int:
        self._count()
        return self._said

    def _pass(self, data: bytes, *, torn: bool = False) -> bytes:
        """`torn`: the stream ended before the event did, so it may be half of one."""
        plain = b""
        if not torn and not self._last and b"\r" not in data:
            plain, data = _plain(data)
            self._to_finish -= plain.count(b'"finish_reason":"') + plain.count(b'"finish_reason": "')
        if data:
            data = self._look(data)
        data = plain + data if plain else data
        if data:
            self._any = True
            self._kept.append(data)
            self._kept_bytes += len(data)
            if self._kept_bytes > KEPT_BYTES:
                self._count()
        elif self._error is not None:
            raise self._error
        return data

    def _look(self, data: bytes) -> bytes:
        """Event by event: what may pass."""
        passed = []
        for block in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
            text = _data_of(block)
            if not text:
                continue  # a comment, or nothing
            if text.strip() == b"[DONE]":
                self.ended = True
                break
            try:
                event = _event(text)
            except orjson.JSONDecodeError:
                self._error = BadReply("An event of the stream is not JSON.", step="parse")
                break
            if not isinstance(event, dict):
                self._error = BadReply("An event of the stream is not a JSON object.", step="parse")
                break
            if event.get("error"):
                self._error = classify_body(200, text)
                break
            self.tier = event.get("service_tier") or self.tier
            if isinstance(usage := event.get("usage"), dict):
                self.usage = usage
                if not self._show_usage and not event.get("choices"):
                    continue
            if self._last and event.get("type") == self._last:
                self.end, self.ended = block + b"\n\n", True
                break
            self._to_finish -= _finishes(event)
            passed.append(block + b"\n\n")
        return b"".join(passed)

    def _count(self) -> None:
        chunks: list[dict[str, Any]] = []
        for data in self._kept:
            for block in data.split(b"\n\n"):
                if text := _data_of(block):
                    try:
                        chunk = _event(text)
                    except orjson.JSONDecodeError:
                        continue
                    if isinstance(chunk, dict):
                        chunks.append(chunk)
        self._kept.clear()
        self._kept_bytes = 0
        if chunks:
            self.tier = chunks[-1].get("service_tier") or self.tier
        self._said += streamed_tokens(chunks)


def _finishes(chunk: Mapping[str, Any]) -> int:
    """How many of the answers end with this chunk."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return 0
    return sum(1 for choice in choices if isinstance(choice, dict) and choice.get("finish_reason"))


def _event(text: bytes) -> Any:
    """Raises JSONDecodeError for what is no JSON. Half of an emoji may pass: the next event has the other half."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.loads(_HALVES.sub(rb"\1", text))


def _plain(data: bytes) -> tuple[bytes, bytes]:
    """The events that say nothing but what the caller gets, and those from the first on that say more, or are none."""
    told = min((at for mark in _TELLING if (at := data.find(mark)) >= 0), default=len(data))
    end = data.rfind(b"\n\n", 0, told) + 2
    if end < 2 or not data.startswith(b"data:"):
        return b"", data
    plain = data[:end]
    try:
        events = orjson.loads(b"[%b]" % plain[5:-2].replace(b"\n\ndata:", b","))  # parsed at once, which is quicker
    except orjson.JSONDecodeError:
        return b"", data
    if len(events) != plain.count(b"\n\n") or not all(type(event) is dict for event in events):
        return b"", data
    return plain, data[end:]


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """The events that are complete, and the rest."""
    end = max((at + len(mark) for mark in _EVENT_ENDS if (at := data.rfind(mark)) >= 0), default=0)
    return data[:end], data[end:]


def _data_of(block: bytes) -> bytes:
    """The data of one event."""
    if block.startswith(b"data:") and b"\n" not in block:
        return block[5:].strip()
    lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
