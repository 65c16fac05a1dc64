"""Speech synthesis. Source: https://platform.openai.com/docs/api-reference/audio/createSpeech"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import media_type, unexpected
from providers.dialects.failures import classify_body
from providers.target import Target
from providers.wire import Operation, Speech, UpstreamRequest

PATH = "/audio/speech"
DEFAULT_VOICE = "alloy"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    body = target.quirks.apply_params(Operation.SPEECH, {**payload, "model": target.upstream_model})
    if voice := target.quirks.voice_for(target.upstream_model, DEFAULT_VOICE):
        body.setdefault("voice", voice)
    return json_request(target.url_for(Operation.SPEECH, PATH), body, accept="audio/*, application/octet-stream")


def parse(headers: Mapping[str, str], body: bytes) -> Speech:
    kind = media_type(headers)
    if not body:
        raise unexpected("The audio is empty.", headers, body)
    if kind == "application/json" or kind.endswith("+json"):
        raise classify_body(200, body)
    if kind.startswith("text/"):
        raise unexpected("The answer is text, not audio.", headers, body)
    return Speech(body, kind or "application/octet-stream")
