"""Fish Audio's speech: a voice by its reference, and the model in a header.

Source: https://docs.fish.audio/api-reference/endpoint/openapi-v1/text-to-speech
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder, json_request, require
from providers.dialects.openai import errors, speech
from providers.dialects.vocabulary import bad, put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest

_NATIVE = ("chunk_length", "latency", "mp3_bitrate", "normalize", "opus_bitrate", "references", "sample_rate")
_SAME = ("prosody", "temperature", "top_p")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")


class FishAudio:
    name = "fish_audio"
    operations = frozenset({Operation.SPEECH})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        self._check(operation)
        require(payload, "input")
        asked = target.quirks.apply_params(Operation.SPEECH, payload)
        refuse_others(asked, {"input", "voice", "response_format", "speed", *_SAME, *_NATIVE}, self.name)
        if not isinstance(asked["input"], str):
            raise bad("The input is not a text.")
        body: dict[str, Any] = {"text": asked["input"]}
        put(body, reference_id=asked.get("voice") or target.credential.fields.get("fish_audio_refid"))
        put(body, format=asked.get("response_format"), **{name: asked.get(name) for name in (*_SAME, *_NATIVE)})
        if asked.get("speed") is not None:
            prosody = body.get("prosody")
            body["prosody"] = {"speed": asked["speed"], **(prosody if isinstance(prosody, dict) else {})}
        accept = "audio/*, application/octet-stream"
        request = json_request(target.url_for(Operation.SPEECH, "/tts"), body, accept=accept)
        model = target.upstream_model
        if model and not _MODEL.fullmatch(model):
            raise bad("The model's name cannot be sent in a header.")
        return request.with_headers({"model": model}) if model else request

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        return speech.parse(headers, body)

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


DIALECT: Dialect = FishAudio()
