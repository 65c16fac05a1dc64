"""Speech: a voice by its reference, and the model in a header.

Source: https://docs.fish.audio/api-reference/endpoint/openapi-v1/text-to-speech
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.openai.speech import parse
from providers.dialects.vocabulary import bad, put, put_same, refuse_others
from providers.target import Target
from providers.wire import Operation, UpstreamRequest

__all__ = ["build", "parse"]

_NATIVE = (
    *("chunk_length", "latency", "mp3_bitrate", "normalize", "opus_bitrate", "prosody", "references"),
    *("sample_rate", "temperature", "top_p"),
)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.SPEECH, payload)
    refuse_others(asked, {"input", "voice", "response_format", "speed", *_NATIVE}, "fish_audio")
    if not isinstance(asked["input"], str):
        raise bad("The input is not a text.")
    body: dict[str, Any] = {"text": asked["input"]}
    put(body, reference_id=asked.get("voice") or target.credential.fields.get("fish_audio_refid"))
    put(body, format=asked.get("response_format"))
    put_same(body, asked, _NATIVE)
    if asked.get("speed") is not None:
        prosody = body.get("prosody")
        body["prosody"] = {"speed": asked["speed"], **(prosody if isinstance(prosody, dict) else {})}
    request = json_request(target.url_for(Operation.SPEECH, "/tts"), body, accept="audio/*, application/octet-stream")
    model = target.upstream_model
    if model and not _MODEL.fullmatch(model):
        raise bad("The model's name cannot be sent in a header.")
    return request.with_headers({"model": model}) if model else request
