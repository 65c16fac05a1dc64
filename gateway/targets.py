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
from providers.errors import AuthenticationFailed, BadReply, UpstreamError
from providers.pending import until_done
from providers.target import Target
from providers.upstream import Exchange, Policy, Pool
from providers.wire import Embeddings, Operation, UpstreamRequest, UpstreamResponse

T = TypeVar("T")
Out = TypeVar("Out", bytes, list[dict[str, Any]])

FORMAT = "openai"  # the wire format that callers speak


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
    exchange: Exchange
    rest: AsyncIterator[bytes]
    secrets: frozenset[str] = field(repr=False)

    def close(self) -> None:
        self.exchange.close()


async def complete(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Answer:
    """The whole answer of this target; from several calls, where it takes fewer texts at once than it is to embed."""
    target = deployment.targets[call.operation]
    dialect = dialects.get(target.dialect)

    async def send(request: UpstreamRequest, policy: Policy) -> Answer:
        async def sent(signed: Authorised) -> Answer:
            response = await upstream.send(signed.request, policy, pool=pool)
            reply = dialect.parse(call.operation, response.status, response.headers, response.body)
            return Answer(reply, response, dialect.name == FORMAT)

        return await _authorised(request, target, policy, pool, sent)

    async def ask(payload: Mapping[str, Any]) -> Answer:
        return await until_done(dialect.build(call.operation, payload, target), target, policy, send)

    if call.operation is not Operation.EMBEDDINGS or batches.fits(call.payload, target.quirks):
        return await ask(call.payload)
    answers: list[Answer] = []

    async def embed(payload: Mapping[str, Any]) -> Embeddings:
        answers.append(answer := await ask(payload))
        return answer.reply if isinstance(answer.reply, Embeddings) else Embeddings([])

    reply = await batches.in_batches(call.payload, target.quirks, embed)
    return Answer(reply, answers[-1].response, native=False)


class AsBytes:
    """Pieces are server-sent events in OpenAI's format."""

    def __call__(self, call: Call, target: Target, dialect: dialects.Dialect) -> Relay[bytes]:
        if dialect.name == FORMAT:
            return Passed(choices=_choices(call), show_usage=_shows_usage(call))
        return Translated(AsEvents()(call, target, dialect))


class AsEvents:
    """Pieces are lists of chunks in OpenAI's shape."""

    def __call__(self, call: Call, target: Target, dialect: dialects.Dialect) -> Events:
        decoder = dialect.decoder(call.operation)
        return Events(decoder, choices=_choices(call), show_usage=_shows_usage(call), model=target.upstream_model)


Kind = Callable[[Call, Target, dialects.Dialect], Relay[Out]]


async def open_stream(call: Call, pool: Pool, kind: Kind[Out], deployment: Deployment, policy: Policy) -> Opened[Out]:
    """The answer of this target once its first piece has come: until then, another target may be tried."""
    target = deployment.targets[call.operation]
    dialect = dialects.get(target.dialect)
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
            rest = exchange.chunks()
            async for data in rest:
                if (first := relay.feed(data)) or relay.ended:
                    return Opened(first, relay, exchange, rest, signed.secrets)
            return Opened(relay.close(), relay, exchange, rest, signed.secrets)
        except BaseException:
            exchange.close()
            raise

    payload = {**call.payload, "stream": True, "stream_options": {**_options(call), "include_usage": True}}
    return await _authorised(dialect.build(call.operation, payload, target), target, policy, pool, sent)


async def _authorised(
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


def _options(call: Call) -> Mapping[str, Any]:
    options = call.payload.get("stream_options")
    return options if isinstance(options, dict) else {}


def _shows_usage(call: Call) -> bool:
    return _options(call).get("include_usage") is True


def _choices(call: Call) -> int:
    count = call.payload.get("n")
    return count if type(count) is int and count > 0 else 1


OPERATIONS_THAT_STREAM = frozenset({Operation.CHAT})
