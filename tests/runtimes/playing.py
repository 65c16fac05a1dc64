"""Drives a driver without a network: what it asks is looked at, what comes of it is written down beforehand.

    told = play(OLLAMA.ping(), [(Ask("GET", "/api/version"), answer({"version": "0.33.0"}))])
    assert told.result == Presence(version="0.33.0")

A reply to `Ask` and `Listen` is an `Answer`, or an exception that is raised there. What is listened to gives the bytes
of its `Heard`, in the pieces they are cut in, and then ends or fails.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hypothesis import strategies as st

from runtimes.drivers.steps import Answer, Ask, Listen, Next, Pause, Pieces, Progress, Remember, Step, Steps

T = TypeVar("T")

# Any JSON: what a runtime may say where we expect something else.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@dataclass
class Heard:
    """What comes after a `Listen` is answered: chunks of bytes, and then a failure if there is one."""

    chunks: Sequence[bytes]
    failure: Exception | None = None
    status: int = 200


Reply = Answer | Heard | Exception
Exchange = tuple[tuple[str, str] | tuple[str, str, Any], Reply]


@dataclass
class Told(Generic[T]):
    """What a driver did. `asked` are all its exchanges, `result` or `error` is how it ended."""

    asked: list[Ask] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    remembered: list[Mapping[str, Any]] = field(default_factory=list)
    paused_s: float = 0.0
    result: T | None = None
    error: Exception | None = None

    def get(self) -> T:
        """The result; raises what the driver raised."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


def answer(data: Any = None, *, status: int = 200, body: bytes | None = None, **headers: str) -> Answer:
    """An answer of JSON, or of any body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        return Answer(status, named, body)
    return Answer(status, {"content-type": "application/json", **named}, json.dumps(data).encode())


def lines(*objects: Any) -> bytes:
    """JSON lines."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def events(*objects: Any) -> bytes:
    """Server-sent events without names."""
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in objects)


def cut(data: bytes, *places: int) -> list[bytes]:
    """The bytes in pieces that end at these places."""
    ends = sorted({min(place, len(data)) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start != end]


def play(
    steps: Steps[T], script: Iterable[Exchange], *, stop_when: Callable[[Step], Exception | None] | None = None
) -> Told[T]:
    """Give the answers of `script` in their order; each must be to the call that it names: (method, path[, body]).

    `stop_when` may give an exception to raise at a step instead of doing it. A script that is not used up fails.
    """
    waiting = deque(script)
    told: Told[T] = Told()
    heard: Iterator[Any] = iter(())
    value: Any = None
    failure: Exception | None = None
    try:
        while True:
            step = steps.send(value) if failure is None else steps.throw(failure)
            value, failure = None, None if stop_when is None else stop_when(step)
            if failure is not None:
                continue
            if isinstance(step, Ask):
                reply = _reply(step, waiting, told)
                if isinstance(reply, Heard):
                    assert isinstance(step, Listen), f"{step} does not listen"
                    heard = _objects(step.pieces(), reply)
                    value = Answer(reply.status, {})
                elif isinstance(reply, Exception):
                    failure = reply
                else:
                    value = reply
            elif isinstance(step, Next):
                try:
                    value = next(heard, None)
                except Exception as error:
                    failure = error
            elif isinstance(step, Pause):
                told.paused_s += step.seconds
            elif isinstance(step, Progress):
                told.progress.append(step)
            elif isinstance(step, Remember):
                told.remembered.append(step.data)
    except StopIteration as end:
        told.result = end.value
    except AssertionError:
        raise
    except Exception as error:
        told.error = error
    assert not waiting, f"never asked: {waiting[0][0]}"
    return told


def _reply(step: Ask, waiting: deque[Exchange], told: Told[Any]) -> Reply:
    told.asked.append(step)
    assert waiting, f"asked more than was expected: {step.method} {step.path} {step.json}"
    (method, path, *body), reply = waiting.popleft()
    assert (step.method, step.path) == (method, path), f"asked {step.method} {step.path}, not {method} {path}"
    assert not body or step.json == body[0], f"{method} {path} was sent {step.json}, not {body[0]}"
    return reply


def _objects(pieces: Pieces, heard: Heard) -> Iterator[Any]:
    for chunk in heard.chunks:
        yield from pieces.feed(chunk)
    if heard.failure is not None:
        raise heard.failure
    yield from pieces.close()
