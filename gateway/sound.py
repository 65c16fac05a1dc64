"""Sound and transcripts as they come. An upstream of OpenAI's format is passed on; of any other the answer is awaited.

Sources: https://platform.openai.com/docs/api-reference/audio/createSpeech (`stream_format`) and
…/audio/createTranscription (`stream`)
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.call import Call
from gateway.deployments import Deployment
from gateway.relay import Passed, Relay, encoded
from gateway.targets import EVENTS, FORMAT, Opened, begun, complete, delivered
from providers import dialects, upstream
from providers.authorisation import Authorised
from providers.errors import BadReply
from providers.upstream import Exchange, Policy, Pool
from providers.wire import Operation, Speech, Transcript

LAST = {Operation.SPEECH: "speech.audio.done", Operation.TRANSCRIPTION: "transcript.text.done"}
_TEXTS = ("application/json", "text/")  # what is no sound
_SOUNDS = ("audio/", "video/")
_LONGEST_KIND = 200


class Sound:
    """A Relay of bytes that say nothing of themselves: they are whole when the upstream ends as HTTP has it."""

    ended = False
    end = b""
    usage: Mapping[str, Any] | None = None
    tier = None

    def __init__(self) -> None:
        self.finished = False
        self._any = False

    def feed(self, data: bytes) -> bytes:
        self._any = self._any or bool(data)
        return data

    def close(self) -> bytes:
        if not self._any:
            raise BadReply("The audio is empty.", step="parse")
        self.finished = True
        return b""

    def said_tokens(self) -> int:
        return 0


@dataclass(slots=True)
class Told:
    """A Relay of what was there at once."""

    usage: Mapping[str, Any] | None = None
    end: bytes = b""
    ended: bool = True
    finished: bool = True
    tier: Any = None

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""

    def said_tokens(self) -> int:
        return 0


async def open_sound(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Opened[bytes]:
    """Speech as bytes or events, a transcript as events."""
    target = deployment.targets[call.operation]
    dialect = dialects.get(target.dialect)
    if dialect.name != FORMAT:
        plain = {name: value for name, value in call.payload.items() if (name, value) not in _SAID_BY_US}
        answer = await complete(replace(call, payload=plain), pool, deployment, policy)
        return _whole(call, answer.reply)

    async def sent(signed: Authorised) -> Opened[bytes]:
        exchange = await upstream.open(signed.request, policy, pool=pool)
        try:
            relay = _relay(call, exchange)
            if relay is None:
                reply = dialect.parse(call.operation, exchange.status, exchange.headers, await exchange.read())
                exchange.close()
                return _whole(call, reply)
            kind = EVENTS if isinstance(relay, Passed) else _kind_of_sound(exchange.headers.get("content-type", ""))
            return await begun(exchange, relay, signed, kind)
        except BaseException:
            exchange.close()
            raise

    return await delivered(dialect.build(call.operation, call.payload, target), target, policy, pool, sent)


_SAID_BY_US = (("stream_format", "audio"), ("stream_format", "sse"), ("stream", True), ("stream", False))


def _relay(call: Call, exchange: Exchange) -> Relay[bytes] | None:
    """How the answer is passed on; None if it has to be read first: an error, or a whole transcript."""
    kind = exchange.media_type
    if exchange.status >= 300:
        return None
    if kind == "text/event-stream":
        return Passed(choices=1, show_usage=True, last=LAST[call.operation])
    if call.operation is Operation.TRANSCRIPTION or kind.startswith(_TEXTS) or kind.endswith("+json"):
        return None
    return Sound()


def _kind_of_sound(said: str) -> str:
    """As the upstream calls it, with its rate and the like, unless it calls it something that a browser would run."""
    is_sound = said.strip().lower().startswith(_SOUNDS) and len(said) <= _LONGEST_KIND
    return said if is_sound else "application/octet-stream"


def _whole(call: Call, reply: Any) -> Opened[bytes]:
    if isinstance(reply, Transcript):
        said = {"type": "transcript.text.delta", "delta": reply.text}
        done: dict[str, Any] = {"type": LAST[call.operation], "text": reply.text}
        if reply.usage:
            done["usage"] = dict(reply.usage)
        return _opened(encoded([said] if reply.text else []), Told(reply.usage, encoded([done])), EVENTS)
    if not isinstance(reply, Speech):
        raise BadReply("The upstream did not answer with sound.", step="parse")
    if call.payload.get("stream_format") != "sse":
        return _opened(reply.audio, Told(), _kind_of_sound(reply.media_type))
    said = {"type": "speech.audio.delta", "audio": base64.b64encode(reply.audio).decode()}
    return _opened(encoded([said]), Told(None, encoded([{"type": LAST[call.operation]}])), EVENTS)


def _opened(first: bytes, relay: Told, media_type: str) -> Opened[bytes]:
    return Opened(first, relay, None, _nothing(), frozenset(), media_type)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
