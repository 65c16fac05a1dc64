"""What a driver asks of the one who runs it: steps, each answered before the next is taken. Nothing here does I/O.

A driver's verbs are generators. They yield what is to be done and are sent what came of it, so that one flow of plain
code serves workers, beats and requests, and tests drive it without a network:

    def unload(self, name):
        answer = yield Ask("POST", "/api/generate", {"model": name, "keep_alive": 0})
        check(answer)

    yield Ask(…)       → Answer             one exchange, whole
    yield Listen(…)    → Answer             an exchange whose body comes in pieces: status and headers first
    yield NEXT         → object or None     the next object of what is listened to; None at its end
    yield Pause(…)     → None               wait
    yield Progress(…)  → None               tell how far it is
    yield Remember(…)  → None               keep this for an attempt that goes on after this one died

What goes wrong on the way (no connection, time is up) is raised where the step was yielded, as an UpstreamError.
When the work is to stop, `Stopped` is raised there instead: a driver that has to call the runtime off yields the steps
for that, and lets `Stopped` through. Whatever is listened to is closed by then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeVar

import orjson

from providers.errors import BadReply

T = TypeVar("T")
Patience = Literal["short", "long"]


class Stopped(Exception):
    """The work is to end now: it was cancelled, or its time is over."""


class Pieces(Protocol):
    """Makes objects of the bytes of a body, as they come."""

    def feed(self, data: bytes) -> Iterator[Any]: ...

    def close(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One exchange with the runtime. `path` begins with “/” and is taken below the service's base URL.

    `patience` says which of the service's timeouts bounds it. `query` is encoded by who runs it.
    """

    method: str
    path: str
    json: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = "short"
    key: bool = True  # whether the service's key goes with it


@dataclass(frozen=True, slots=True)
class Listen(Ask):
    """An exchange that is read as it comes; `idle_timeout_s` bounds the silence between two pieces, not the whole."""

    pieces: Callable[[], Pieces] = field(kw_only=True)
    idle_timeout_s: float = field(default=300.0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Next:
    """The next object of what is listened to."""


NEXT: Final = Next()


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: bytes where they are known, else a fraction of 1."""

    message: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class Remember:
    """JSON values, small, no secret: given to the verb as `remembered` when it is begun again."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; for `Listen`, with no body yet if its status is 2xx."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""
    latency_ms: int = 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; raises BadReply if it is none."""
        try:
            return orjson.loads(self.body)
        except ValueError:
            raise BadReply("The runtime's answer is not JSON.", step="parse") from None


Step = Ask | Listen | Next | Pause | Progress | Remember
Steps = Generator[Step, Any, T]
