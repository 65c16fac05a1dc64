"""What a dialect is, and what all that speak JSON share. Sans-I/O: bytes in, objects out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import orjson

from providers.dialects.bodies import is_deep
from providers.errors import BadRequest, Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest

USER_AGENT = "llmadmin"


class StreamDecoder(Protocol):
    """Turns the bytes of a streamed reply into events, however they are cut.

    An error that follows events in the same bytes is raised by the next call, so that none of them is lost.
    `finished` tells whether the upstream said that the stream is complete.
    """

    @property
    def finished(self) -> bool: ...

    def feed(self, data: bytes) -> list[dict[str, Any]]: ...

    def close(self) -> list[dict[str, Any]]: ...


@runtime_checkable
class Dialect(Protocol):
    """A wire format. Every method raises UpstreamError and nothing else, whatever the upstream sends."""

    name: str
    operations: frozenset[Operation]

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest: ...

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply: ...

    def decoder(self, operation: Operation) -> StreamDecoder: ...


class Call(Protocol):
    """One operation of a dialect, as a rule a module: its request, and its answer if that is a success."""

    def build(self, payload: Mapping[str, Any], target: Target, /) -> UpstreamRequest: ...

    def parse(self, headers: Mapping[str, str], body: bytes, /) -> Reply: ...


@dataclass(eq=False)
class ByOperation:
    """A dialect with one module for each operation.

    `raise_for(status, headers, body)` raises what an answer of that status means; `chat_decoder` makes the decoder of
    streamed chats, where there is one.
    """

    name: str
    modules: Mapping[Operation, Call]
    raise_for: Callable[[int, Mapping[str, str], bytes], None]
    chat_decoder: Callable[[], StreamDecoder] | None = None
    operations: frozenset[Operation] = field(init=False)

    def __post_init__(self) -> None:
        self.operations = frozenset(self.modules)

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        module = self._module(operation)
        if is_deep(list(payload.values())):
            raise BadRequest("The request is nested too deeply.", step="build")
        return module.build(payload, target)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        module = self._module(operation)
        self.raise_for(status, headers, body)
        return module.parse(headers, body)

    def decoder(self, operation: Operation) -> StreamDecoder:
        if operation is not Operation.CHAT or self.chat_decoder is None:
            raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")
        return self.chat_decoder()

    def _module(self, operation: Operation) -> Call:
        module = self.modules.get(operation)
        if module is None:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")
        return module


def json_request(url: str, payload: Mapping[str, Any], *, accept: str = "application/json") -> UpstreamRequest:
    """A POST of JSON; raises BadRequest for what JSON cannot hold."""
    headers = {"Content-Type": "application/json", "Accept": accept, "User-Agent": USER_AGENT}
    return UpstreamRequest("POST", url, headers, to_json(payload))


def to_json(value: Any) -> bytes:
    """JSON, with whole numbers of any size; raises BadRequest for what it cannot hold."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _slowly(value)


def _slowly(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raise BadRequest("The request holds something that JSON cannot carry.", step="build") from None


def get_request(url: str) -> UpstreamRequest:
    return UpstreamRequest("GET", url, {"Accept": "application/json", "User-Agent": USER_AGENT})


def require(payload: Mapping[str, Any], *names: str) -> None:
    """Raise BadRequest if the payload lacks one of them."""
    if missing := [name for name in names if payload.get(name) in (None, "", [], b"")]:
        raise BadRequest(f"The request needs {', '.join(missing)}.", step="build", param=missing[0])
