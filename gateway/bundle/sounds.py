"""Sound and transcripts as they come: the bytes of a stream as RAGFlow's callers in Python know them."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson

from gateway.call import Call
from gateway.deployments import Deployment
from gateway.pipeline import Streaming
from gateway.relay import Relay
from gateway.sound import open_sound
from gateway.targets import EVENTS, Opened
from providers.dialects.sse import EventParser
from providers.errors import BadReply
from providers.upstream import Policy, Pool

MAX_PIECE_BYTES = 64 * 1024


async def open_audio(call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Opened[bytes]:
    """Speech as bytes, also where the upstream tells it as events."""
    opened = await open_sound(call, pool, deployment, policy)
    if opened.media_type is EVENTS:
        relay = Unwrapped(opened.relay)
        try:
            opened.first = relay.sound_of(opened.first)
        except BadReply:
            opened.close()
            raise
        opened.relay = relay
    return opened


class Unwrapped:
    """A relay of events that gives the sound in them."""

    def __init__(self, relay: Relay[bytes]) -> None:
        self._relay = relay
        self._parser = EventParser()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    def feed(self, data: bytes) -> bytes:
        return self.sound_of(self._relay.feed(data))

    def close(self) -> bytes:
        return self.sound_of(self._relay.close())

    def sound_of(self, events: bytes) -> bytes:
        """Raises BadReply for what is not base64."""
        sounds = [event.get("audio") for event in _events(self._parser, events)]
        try:
            return b"".join(base64.b64decode(sound, validate=True) for sound in sounds if isinstance(sound, str))
        except ValueError:
            raise BadReply("The sound in an event is not base64.", step="parse") from None


async def audio(streaming: Streaming[bytes]) -> AsyncGenerator[bytes, None]:
    """The sound in pieces of at most MAX_PIECE_BYTES."""
    async with aclosing(aiter(streaming)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            for start in range(0, len(piece), MAX_PIECE_BYTES):
                yield piece[start : start + MAX_PIECE_BYTES]


@dataclass(slots=True)
class Dictation:
    """One transcript; `streams`: the upstream that answers tells it as it comes."""

    streams: bool = True

    async def open(self, call: Call, pool: Pool, deployment: Deployment, policy: Policy) -> Opened[bytes]:
        if not deployment.streams:
            plain = {name: value for name, value in call.payload.items() if name != "stream"}
            call = replace(call, payload=plain)
        opened = await open_sound(call, pool, deployment, policy)
        self.streams = opened.exchange is not None
        return opened

    async def events(self, streaming: Streaming[bytes]) -> AsyncGenerator[dict[str, Any], None]:
        """What is new of the text, as `delta` events; at last one `final` event with all of it."""
        parser, said = EventParser(), ""
        async with aclosing(aiter(streaming)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                for event in _events(parser, piece):
                    if text := _text_of(event):
                        said += text
                        if self.streams:
                            yield {"event": "delta", "text": text}
        for event in _events(parser, streaming.end):
            if isinstance(whole := event.get("text"), str):
                said = whole
        final = {"event": "final", "text": said}
        yield final if self.streams else {**final, "streaming": False}


def _events(parser: EventParser, data: bytes) -> list[Mapping[str, Any]]:
    """The objects among the events that are complete now."""
    found: list[Mapping[str, Any]] = []
    for _, text in parser.feed(data):
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue  # the end, as "[DONE]": what else comes has been looked at
        if isinstance(event, dict):
            found.append(event)
    return found


def _text_of(event: Mapping[str, Any]) -> str:
    """What an event adds to a transcript, in OpenAI's shape or in that of vLLM's chunks.

    Source: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    """
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = choice.get("delta") if isinstance(choice, dict) else event.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else delta
    return text if isinstance(text, str) else ""
