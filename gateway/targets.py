"""Sends a call to one target: build → authorise → send, and then the whole answer, or the beginning of a streamed one.

Raises UpstreamError and nothing else of its own; what is raised carries no secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gateway.call import Call
from gateway.deployments import Deployment
from gateway.relay import Events, Passed, Relay, Translated
from providers import batches, dialects, upstream
from providers.authorisation import Authorised, authorised
from providers.errors import AuthenticationFailed, BadReply, Unsupported, UpstreamError
from providers.pending import until_done
from providers.target import Target
from providers.upstream import Exchange, Policy, Pool
from providers.wire import Embeddings, Operation, UpstreamRequest, UpstreamResponse

T = TypeVar("T")
Out = TypeVar("Out", bytes, list[dict[str, Any]])

EVENTS = "text/event-stream; charset=utf-8"
FORMAT = "openai"  # the wire format that callers speak
FORMATS = {Operation.OCR: "mistral_ocr"}  # where OpenAI has none


@dataclass(slots=True)
class Answer:
    """A whole answer: what it means, and what it was. `native`: it came in the format that callers speak."""

    reply: Any
    response: UpstreamResponse
    native: bool


@dataclass(slots=True)
class Opened(Generic[Out]):
    """A streamed answer whose first piece is here."""

    first: Out
    relay: Relay[Out]
    exchange: Exchange | None
    rest: AsyncIterator[bytes]
    secrets: frozenset[str] = field(repr=False)
    media_type: str = EVENTS

    async def drain(self) -> None:
        if self.exchange is not None:
            await self.exchange.drain()

    def close(self) -> None:
        if self.exchange is not None:
            self.exchange.close()


async def complete(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Answer:
    """The whole answer of this target; from several calls, where it takes fewer texts at once than it is to embed."""
    target = deployment.targets[call.operation]
    dialect = dialects.get(target.dialect)

    async def send(request: UpstreamRequest, policy: Policy) -> Answer:
        async def sent(signed: Authorised) -> Answer:
            response = await upstream.send(signed.request, policy, pool=pool)
            reply = dialect.parse(call.operation, response.status, response.headers, response.body)
            return Answer(reply, response, dialect.name == FORMATS.get(call.operation, FORMAT))

        return await delivered(request, target, policy, pool, sent)

    async def ask(payload: Mapping[str, Any]) -> Answer:
        return await until_done(dialect.build(call.operation, payload, target), target, policy, send)

    if call.operation is not Operation.EMBEDDINGS or batches.fits(call.payload, target.quirks):
        return await until_done(dialect.build(call.operation, call.payload, target), target, policy, send)
    answers: list[Answer] = []

    async def embed(payload: Mapping[str, Any]) -> Embeddings:
        answers.append(answer := await ask(payload))
        return answer.reply if isinstance(answer.reply, Embeddings) else Embeddings([])

    reply = await batches.in_batches(call.payload, target.quirks, embed)
    return Answer(reply, answers[-1].response, native=False)


Open = Callable[[Call, Pool, Deployment, Policy], Awaitable[Opened[Out]]]
"""Opens the answer of one target, and returns once its first piece has come: until then, another may be tried."""


async def open_bytes(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Opened[bytes]:
    """A chat whose pieces are server-sent events in OpenAI's format."""
    return await _open_chat(call, pool, _as_bytes, deployment, policy)


async def open_events(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Opened[list[dict[str, Any]]]:
    """A chat whose pieces are lists of chunks in OpenAI's shape."""
    return await _open_chat(call, pool, _as_events, deployment, policy)


def _as_bytes(call: Call, target: Target, dialect: dialects.Dialect) -> Relay[bytes]:
    if dialect.name == FORMAT and not shown_as(call):
        return Passed(choices=_choices(call), show_usage=_shows_usage(call))
    return Translated(_as_events(call, target, dialect))


def _as_events(call: Call, target: Target, dialect: dialects.Dialect) -> Events:
    decoder = dialect.decoder(call.operation)
    shown = shown_as(call)
    return Events(
        decoder,
        choices=_choices(call),
        show_usage=_shows_usage(call),
        model=shown or target.upstream_model,
        renamed=bool(shown),
    )


_Kind = Callable[[Call, Target, dialects.Dialect], Relay[Out]]


async def _open_chat(call: Call, pool: Pool, kind: _Kind[Out], deployment: Deployment, policy: Policy) -> Opened[Out]:
    target = deployment.targets[call.operation]
    dialect = dialects.get(target.dialect)
    if not deployment.streams:
        raise Unsupported(
            f"{deployment.factory} cannot stream its answers.",
            hint="Leave stream out, or say false.",
            step="build",
            param="stream",
        )
    relay = kind(call, target, dialect)

    async def sent(signed: Authorised) -> Opened[Out]:
        exchange = await upstream.open(signed.request, policy, pool=pool)
        try:
            if exchange.status >= 300:
                dialect.parse(call.operation, exchange.status, exchange.headers, await exchange.read())
                raise BadReply("The upstream answered with a redirect.", step="status")
            if exchange.media_type == "application/json":
                dialect.parse(call.operation, exchange.status, exchange.headers, await exchange.read())
                raise BadReply("The upstream did not stream its answer.", step="parse")
            return await begun(exchange, relay, signed)
        except BaseException:
            exchange.close()
            raise

    payload = {**call.payload, "stream": True, "stream_options": {**_options(call), "include_usage": True}}
    return await delivered(dialect.build(call.operation, payload, target), target, policy, pool, sent)


async def begun(exchange: Exchange, relay: Relay[Out], signed: Authorised, media_type: str = EVENTS) -> Opened[Out]:
    """Read on until there is something for the caller; raises BadReply if nothing comes."""
    rest = exchange.chunks()
    async for data in rest:
        if (first := relay.feed(data)) or relay.ended:
            return Opened(first, relay, exchange, rest, signed.secrets, media_type)
    first = relay.close()
    if not first and not relay.finished:
        raise BadReply("The upstream's answer is empty.", step="parse")
    return Opened(first, relay, exchange, rest, signed.secrets, media_type)


async def delivered(
    request: UpstreamRequest,
    target: Target,
    policy: Policy,
    pool: Pool,
    send: Callable[[Authorised], Awaitable[T]],
) -> T:
    """As `providers.authorisation.deliver`, for one who needs to know the secrets of what was sent."""
    while True:
        signed = await authorised(request, target, policy, pool)
        try:
            return await send(signed)
        except UpstreamError as error:
            if isinstance(error, AuthenticationFailed) and signed.outworn():
                continue
            raise error.without(signed.secrets) from None


def shown_as(call: Call) -> str:
    """What the answering model is called, where it is not to be what the upstream says."""
    return call.deployment.shown_as if call.deployment is not None else ""


def _options(call: Call) -> Mapping[str, Any]:
    options = call.payload.get("stream_options")
    return options if isinstance(options, dict) else {}


def _shows_usage(call: Call) -> bool:
    return _options(call).get("include_usage") is True


def _choices(call: Call) -> int:
    count = call.payload.get("n")
    return count if type(count) is int and count > 0 else 1
