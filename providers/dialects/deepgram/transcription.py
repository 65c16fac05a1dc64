"""Transcription of recorded audio: raw audio in, one transcript per channel out.

Sources: https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded and
https://docs.greenpt.ai/audio-prerecorded
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from providers.dialects.base import USER_AGENT, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record
from providers.dialects.deepgram import errors
from providers.dialects.vocabulary import bad, refuse_others, unsupported
from providers.target import Target
from providers.wire import Operation, Transcript, UpstreamRequest

_NATIVE = (
    *("detect_language", "diarize", "dictation", "filler_words", "intents", "keyterm", "keywords", "measurements"),
    *("mip_opt_out", "multichannel", "numerals", "paragraphs", "profanity_filter", "punctuate", "redact", "replace"),
    *("search", "sentiment", "smart_format", "tag", "topics", "utterances", "version"),
)
_MEDIA_TYPE = re.compile(r"[\w.+\-]{1,64}/[\w.+\-]{1,64}", re.A)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "file")
    asked = target.quirks.apply_params(Operation.TRANSCRIPTION, payload)
    known = {"file", "filename", "media_type", "language", "response_format", *_NATIVE}
    refuse_others(asked, known, "deepgram")
    if asked.get("response_format") not in (None, "json", "text"):
        raise unsupported("a transcript with times", "deepgram")
    audio, kind = asked["file"], asked.get("media_type") or "audio/wav"
    if not isinstance(audio, bytes | bytearray):
        raise bad("The audio must be bytes.")
    if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(kind):
        raise bad("The audio's media type is malformed.")
    pairs = [("model", target.upstream_model)]
    pairs += [(name, text) for name in ("language", *_NATIVE) for text in _texts(name, asked.get(name))]
    try:
        query = urlencode(pairs)
    except UnicodeEncodeError:
        raise bad("A parameter is not valid text.") from None
    url = f"{target.url_for(Operation.TRANSCRIPTION, '/listen')}?{query}"
    headers = {"Content-Type": kind, "Accept": "application/json", "User-Agent": USER_AGENT}
    return UpstreamRequest("POST", url, headers, bytes(audio))


def parse(headers: Mapping[str, str], body: bytes) -> Transcript:
    data = load_object(headers, body)
    channels = (record(data, "results") or {}).get("channels")
    if not isinstance(channels, list):
        if data.get("err_code") or data.get("error"):
            raise errors.in_body(body)
        raise unexpected("The answer holds no transcript.", headers, body)
    texts = [_transcript(channel) for channel in channels]
    if any(text is None for text in texts):
        raise unexpected("A channel of the answer has no transcript.", headers, body)
    return Transcript("\n".join(text for text in texts if text), usage=_usage(data.get("metadata")))


def _texts(name: str, value: Any) -> Iterator[str]:
    """A parameter's values as a query has them; a list is the same parameter several times."""
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str | int | float):
        yield str(value)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(name, item if not isinstance(item, list) else object())
    elif value is not None:
        raise bad(f"{name} is neither a text, a number nor a list of them.")


def _transcript(channel: Any) -> str | None:
    """The likeliest reading of a channel."""
    alternatives = channel.get("alternatives") if isinstance(channel, dict) else None
    if not isinstance(alternatives, list):
        return None
    if not alternatives:
        return ""
    text = alternatives[0].get("transcript") if isinstance(alternatives[0], dict) else None
    return text if isinstance(text, str) else None


def _usage(metadata: Any) -> dict[str, Any] | None:
    """How long the audio was, as OpenAI says it."""
    seconds = metadata.get("duration") if isinstance(metadata, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        return None
    return {"type": "duration", "seconds": seconds}
