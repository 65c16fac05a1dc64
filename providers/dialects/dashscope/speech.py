"""Speech of the Qwen-TTS models.

The whole answer would hold nothing but a link to the audio; the streamed one holds the audio itself, as pieces of
16-bit samples at 24 kHz in Base64. So it is asked for streamed, and put together here.
Source: https://www.alibabacloud.com/help/en/model-studio/qwen-tts-api
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, media_type, unexpected
from providers.dialects.dashscope import paths
from providers.dialects.dashscope.errors import in_body, output
from providers.dialects.sse import EventParser
from providers.dialects.vocabulary import bad, put, refuse_others, unsupported
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Speech, UpstreamRequest

DEFAULT_VOICE = "Cherry"
RATE_HZ = 24_000
_SOCKET_ONLY = re.compile(r"-realtime(?:-|$)|^(?:sambert|cosyvoice)-", re.I)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`language_type`, `instructions` and `optimize_instructions` are passed on; the audio is always WAV."""
    require(payload, "input")
    if _SOCKET_ONLY.search(target.upstream_model):
        raise Unsupported(
            "This model speaks over a WebSocket only.",
            hint="Use a model that is called over HTTP, such as qwen3-tts-flash.",
            step="build",
        )
    asked = target.quirks.apply_params(Operation.SPEECH, payload)
    known = {"input", "voice", "response_format", "speed", "language_type", "instructions", "optimize_instructions"}
    refuse_others(asked, known, "dashscope")
    if not isinstance(asked["input"], str):
        raise bad("The input is not a text.")
    if asked.get("response_format") not in (None, "wav"):
        raise unsupported("another audio format than wav", "dashscope")
    if asked.get("speed") not in (None, 1):
        raise unsupported("another speed than 1", "dashscope")
    said: dict[str, Any] = {"text": asked["input"], "voice": asked.get("voice") or DEFAULT_VOICE}
    put(said, **{name: asked.get(name) for name in ("language_type", "instructions", "optimize_instructions")})
    body = {"model": target.upstream_model, "input": said}
    url = paths.url(target, Operation.SPEECH, paths.GENERATION)
    return json_request(url, body, accept="text/event-stream").with_headers({"X-DashScope-SSE": "enable"})


def parse(headers: Mapping[str, str], body: bytes) -> Speech:
    pieces = []
    for event in _events(headers, body):
        audio = output(event, headers, body).get("audio")
        data = audio.get("data") if isinstance(audio, dict) else None
        if isinstance(data, str):
            pieces.append(_decoded(data, headers, body))
    sound = b"".join(pieces)
    if not sound:
        raise unexpected("The answer holds no audio.", headers, body)
    return Speech(sound if sound.startswith(b"RIFF") else _wav(sound), "audio/wav")


def _events(headers: Mapping[str, str], body: bytes) -> Iterator[dict[str, Any]]:
    if media_type(headers) != "text/event-stream":
        yield load_object(headers, body)
        return
    parser = EventParser()
    events = parser.feed(body) + parser.close()
    if parser.overflown:
        raise unexpected("An event of the answer is too long.", headers, b"")
    for name, data in events:
        if name == "error":
            raise in_body(data)
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            raise unexpected("An event of the answer is not a JSON object.", headers, data)
        if event.get("code"):
            raise in_body(data)
        yield event


def _decoded(data: str, headers: Mapping[str, str], body: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise unexpected("The audio is not Base64.", headers, body) from None


def _wav(samples: bytes) -> bytes:
    """The samples behind the header of a WAV file: one channel, 16 bits."""
    samples = samples[: len(samples) // 2 * 2]
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(samples))
        + b"WAVE"
        + form
        + struct.pack("<4sI", b"data", len(samples))
        + samples
    )
