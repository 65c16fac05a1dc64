"""What goes over the wire, without a wire: operations, requests, responses and replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from core.origins import DEFAULT_PORTS, origin_of
from providers.llm_types import LLMType


class Operation(StrEnum):
    """One kind of call. Several model types may share one: a picture is described by a chat."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    SPEECH = "speech"
    OCR = "ocr"
    MODELS = "models"


_OPERATIONS = {
    LLMType.CHAT: Operation.CHAT,
    LLMType.IMAGE2TEXT: Operation.CHAT,
    LLMType.EMBEDDING: Operation.EMBEDDINGS,
    LLMType.RERANK: Operation.RERANK,
    LLMType.SPEECH2TEXT: Operation.TRANSCRIPTION,
    LLMType.TTS: Operation.SPEECH,
    LLMType.OCR: Operation.OCR,
}


def operation_for(llm_type: LLMType | str) -> Operation:
    """The operation that uses a model of this type."""
    return _OPERATIONS[LLMType(llm_type)]


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request that a dialect has built and a signer may sign. Its repr shows neither header values nor a query."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def origin(self) -> str:
        """`scheme://host:port`, as secrets are bound to."""
        return origin_of(self.url)

    @property
    def host(self) -> str:
        """What its Host header says: the port only where it is not the scheme's own."""
        host, _, port = self.origin.partition("://")[2].rpartition(":")
        return host if int(port or 0) in (0, DEFAULT_PORTS.get(self.origin.partition(":")[0])) else f"{host}:{port}"

    def with_headers(self, headers: Mapping[str, str]) -> UpstreamRequest:
        """The same request with these headers added; names are compared without case."""
        replaced = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in replaced}
        return replace(self, headers={**kept, **headers})

    def __repr__(self) -> str:
        size = len(self.body) if self.body is not None else 0
        url = self.url.partition("?")[0]
        return f"<UpstreamRequest {self.method} {url} headers={sorted(self.headers)} {size} bytes>"


@dataclass(frozen=True, slots=True, repr=False)
class SocketRequest(UpstreamRequest):
    """A WebSocket to be opened, with the messages to be sent: each line of the body is one, as text.

    What is received comes back as the body of the response, a line for each text message. `is_last` tells whether a
    message is the last one, so that nobody waits for more; the upstream may also close.
    """

    is_last: Callable[[str], bool] = field(default=lambda message: False, compare=False)


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """An answer read to its end. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    latency_ms: int

    def __repr__(self) -> str:
        return f"<UpstreamResponse {self.status} {len(self.body)} bytes in {self.latency_ms} ms>"


ChatReply = dict[str, Any]
"""A chat completion in OpenAI's shape, with every field that their types require."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, in order; behaves as a list of them."""

    vectors: list[list[float]]
    usage: Mapping[str, Any] | None = None
    model: str = ""

    def __iter__(self) -> Iterator[list[float]]:
        return iter(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: int) -> list[float]:
        return self.vectors[index]


class Score(NamedTuple):
    """How relevant the document at `position` in the request is."""

    position: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The scores in the upstream's order (best first, as a rule); behaves as a list of them."""

    scores: list[Score]
    usage: Mapping[str, Any] | None = None
    model: str = ""

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> Score:
        return self.scores[index]


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str
    usage: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Speech:
    audio: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"<Speech {self.media_type} {len(self.audio)} bytes>"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read: the Markdown of each page, in order; one where the upstream does not part them."""

    pages: list[str]
    usage: Mapping[str, Any] | None = None
    model: str = ""

    @property
    def text(self) -> str:
        """All pages as one text."""
        return "\n\n".join(page for page in self.pages if page)

    def __iter__(self) -> Iterator[str]:
        return iter(self.pages)

    def __len__(self) -> int:
        return len(self.pages)


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model as the upstream lists it; `raw` is its whole entry.

    `details` is the payload that asks what it can do, where the list does not say, or None.
    """

    id: str
    owned_by: str = ""
    created: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] | None = None


class ModelPage(list[RemoteModel]):
    """A list of models that may go on: `next_page` is the payload that asks for more, or None."""

    next_page: Mapping[str, Any] | None = None


Reply = ChatReply | Embeddings | Ranking | Transcript | Speech | Document | list[RemoteModel]
