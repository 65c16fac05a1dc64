"""Transcription. The model's name is that of an engine, such as 16k_zh.

What surely lasts at most a minute is recognised within the call. Anything else becomes a task, whose result is asked
for until it is there.
"""

from __future__ import annotations

import base64
import io
import re
import wave
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected, words
from providers.dialects.tencent import errors
from providers.dialects.vocabulary import bad, put_same, refuse_others, unsupported
from providers.errors import GenericUpstreamError
from providers.pending import Pending
from providers.target import Target
from providers.wire import Operation, Transcript, UpstreamRequest

VERSION = "2019-06-14"
MAX_BYTES = 5 * 1024 * 1024
SHORT_BASE64_BYTES = 3 * 1024 * 1024
SHORT_S = 60
# The engines that recognise short audio within the call; others know tasks only.
_SHORT_ENGINES = frozenset(
    {"8k_zh", "8k_en", "16k_zh", "16k_zh-PY", "16k_zh_medical", "16k_zh_dialect", "16k_en", "16k_yue", "16k_ja"}
    | {"16k_ko", "16k_vi", "16k_ms", "16k_id", "16k_fil", "16k_th", "16k_pt", "16k_tr", "16k_ar", "16k_es", "16k_hi"}
    | {"16k_fr", "16k_de"}
)
_NATIVE = (
    *("ConvertNumMode", "CustomizationId", "FilterDirty", "FilterModal", "FilterPunc", "HotwordId", "HotwordList"),
    *("ReinforceHotword", "ReplaceTextId"),
)
_FORMATS: Mapping[str, str] = {
    **{name: name for name in ("wav", "pcm", "mp3", "m4a", "aac", "amr", "speex", "silk")},
    **{"wave": "wav", "vnd.wave": "wav", "l16": "pcm", "mpeg": "mp3", "mp4": "m4a", "ogg": "ogg-opus"},
    **{"opus": "ogg-opus", "spx": "speex"},
}
# So many bytes a second at least: fewer in all than in a minute of it are surely no longer than a minute.
_BYTES_PER_S: Mapping[str, int] = {
    **{"mp3": 4000, "m4a": 4000, "aac": 4000},
    **{"ogg-opus": 1000, "speex": 500, "silk": 750, "amr": 590},
}
_TIMES = re.compile(r"^\[[\d:.]+,[\d:.]+(?:,\d+)?\]\s*", re.M)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`ConvertNumMode`, `FilterDirty`, `HotwordList` and their like are passed on under Tencent's names."""
    require(payload, "file")
    asked = target.quirks.apply_params(Operation.TRANSCRIPTION, payload)
    refuse_others(asked, {"file", "filename", "media_type", "language", "response_format", *_NATIVE}, "tencent")
    audio, engine = asked["file"], target.upstream_model
    if not isinstance(audio, bytes | bytearray):
        raise bad("The audio must be bytes.")
    if asked.get("response_format") not in (None, "json", "text"):
        raise unsupported("a transcript with times", "tencent")
    if len(audio) > MAX_BYTES:
        raise bad("The audio is too long: 5 MB is the most.")
    _check_language(asked.get("language"), engine)
    data = base64.b64encode(audio).decode()
    body: dict[str, Any] = {"SourceType": 1, "Data": data, "DataLen": len(audio)}
    put_same(body, asked, _NATIVE)
    form = _form(asked)
    if engine in _SHORT_ENGINES and len(data) <= SHORT_BASE64_BYTES and _is_short(bytes(audio), form, engine):
        return _call(target, "SentenceRecognition", {"EngSerViceType": engine, "VoiceFormat": form, **body})
    return _call(target, "CreateRecTask", {"EngineModelType": engine, "ChannelNum": 1, "ResTextFormat": 0, **body})


def parse(headers: Mapping[str, str], body: bytes) -> Transcript:
    load_object(headers, body)
    response = errors.inner(body)
    if isinstance(text := response.get("Result"), str):
        return Transcript(text, _usage(response.get("AudioDuration"), 1000))
    task = response.get("Data")
    if not isinstance(task, dict):
        raise unexpected("The answer holds no transcript.", headers, body)
    status, number = task.get("StatusStr"), task.get("TaskId")
    if status == "success" and isinstance(text := task.get("Result"), str):
        return Transcript(_TIMES.sub("", text).strip(), _usage(task.get("AudioDuration"), 1))
    if status == "failed":
        said = _said(task)
        raise GenericUpstreamError(
            f"The upstream could not transcribe the audio.{said}",
            hint="Check that the audio is whole, and of a format that Tencent Cloud knows.",
            step="parse",
        )
    if status not in (None, "waiting", "doing") or isinstance(number, bool) or not isinstance(number, int):
        raise unexpected("The answer is neither a transcript nor a task.", headers, body)
    raise Pending(lambda target: _call(target, "DescribeTaskStatus", {"TaskId": number}))


def _said(task: Mapping[str, Any]) -> str:
    message = task.get("ErrorMsg")
    return f" It says: “{words(message, 300)}”" if isinstance(message, str) and message.strip() else ""


def _call(target: Target, action: str, body: Mapping[str, Any]) -> UpstreamRequest:
    request = json_request(target.url_for(Operation.TRANSCRIPTION, "/"), body)
    return request.with_headers({"X-TC-Action": action, "X-TC-Version": VERSION})


def _check_language(language: Any, engine: str) -> None:
    """An engine knows its own languages only; those with “multi” find out which one is spoken."""
    if language in (None, ""):
        return
    if not isinstance(language, str):
        raise bad("The language is not a text.")
    known = set(re.split(r"[_\-]", engine.lower()))
    if language.lower() not in known and "multi" not in known:
        raise unsupported(f"the language {language[:20]} with the engine {engine[:40]}", "tencent")


def _form(asked: Mapping[str, Any]) -> str:
    """The audio's format as Tencent calls it, from its media type or its file name; "" if it has no name there."""
    kind, name = asked.get("media_type") or "", asked.get("filename") or ""
    if not isinstance(kind, str) or not isinstance(name, str):
        raise bad("The audio's media type or file name is not a text.")
    said = kind.partition(";")[0].rpartition("/")[2].strip().lower().removeprefix("x-")
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return _FORMATS.get(said) or _FORMATS.get(ending) or ("wav" if not said and not ending else "")


def _is_short(audio: bytes, form: str, engine: str) -> bool:
    if form == "wav":
        try:
            with wave.open(io.BytesIO(audio)) as file:
                return bool(file.getnframes() <= SHORT_S * file.getframerate())
        except (wave.Error, EOFError, ZeroDivisionError):
            return False
    if form == "pcm":
        return len(audio) <= SHORT_S * (16_000 if engine.startswith("8k") else 32_000)
    return len(audio) <= SHORT_S * _BYTES_PER_S.get(form, 0)


def _usage(duration: Any, per_s: int) -> dict[str, Any] | None:
    """How long the audio was, as OpenAI says it."""
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not duration >= 0:
        return None
    return {"type": "duration", "seconds": duration / per_s}
