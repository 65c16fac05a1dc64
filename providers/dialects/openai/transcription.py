"""Transcription: a multipart upload. Source: https://platform.openai.com/docs/api-reference/audio/createTranscription"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import require
from providers.dialects.bodies import load, media_type, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.multipart import form_request
from providers.errors import BadRequest
from providers.target import Target
from providers.wire import Operation, Transcript, UpstreamRequest

PATH = "/audio/transcriptions"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`file` is the audio's bytes; `filename` and `media_type` describe it; the rest are form fields."""
    require(payload, "file")
    fields = target.quirks.apply_params(Operation.TRANSCRIPTION, {**payload, "model": target.upstream_model})
    audio = fields.pop("file")
    name, kind = fields.pop("filename", "audio.wav"), fields.pop("media_type", "audio/wav")
    if not isinstance(audio, bytes | bytearray):
        raise BadRequest("The audio must be bytes.", step="build")
    url = target.url_for(Operation.TRANSCRIPTION, PATH)
    file = ("file", bytes(audio), str(name), str(kind))
    return form_request(url, fields, file, accept="application/json, text/plain")


def parse(headers: Mapping[str, str], body: bytes) -> Transcript:
    kind = media_type(headers)
    if kind.startswith("text/") or kind in ("application/x-subrip", "text/vtt"):
        try:
            return Transcript(body.decode("utf-8"))
        except UnicodeDecodeError:
            raise unexpected("The transcript is not text.", headers, body) from None
    data = load(headers, body)
    if isinstance(data, str):
        return Transcript(data)
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        if isinstance(data, dict) and data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no transcript.", headers, body)
    usage = data.get("usage")
    return Transcript(data["text"], usage=usage if isinstance(usage, dict) else None)
