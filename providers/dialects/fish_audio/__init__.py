"""Fish Audio's speech. Source: https://docs.fish.audio/api-reference/endpoint/openapi-v1/text-to-speech"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.fish_audio import speech
from providers.dialects.openai import errors
from providers.wire import Operation

DIALECT: Dialect = ByOperation("fish_audio", {Operation.SPEECH: speech}, errors.raise_for)
