"""Transcription: OpenAI's form, in which the language must be given.

Source: https://docs.cohere.com/reference/create-audio-transcription
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.dialects.base import require
from providers.dialects.cohere import paths
from providers.dialects.openai import transcription
from providers.dialects.vocabulary import refuse_others
from providers.target import Target
from providers.wire import Operation, Transcript, UpstreamRequest

DEFAULT_LANGUAGE = "en"
_FIELDS = ("file", "filename", "media_type", "language", "temperature")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "file")
    asked = target.quirks.apply_params(Operation.TRANSCRIPTION, payload)
    if asked.get("response_format") == "json":  # the only one there is
        del asked["response_format"]
    refuse_others(asked, _FIELDS, "cohere")
    asked = {name: value for name, value in asked.items() if name in _FIELDS and value is not None}
    url = paths.url(target, Operation.TRANSCRIPTION, "/v2/audio/transcriptions")
    request = transcription.build({"language": DEFAULT_LANGUAGE, **asked}, target)
    return replace(request, url=url)


def parse(headers: Mapping[str, str], body: bytes) -> Transcript:
    return transcription.parse(headers, body)
