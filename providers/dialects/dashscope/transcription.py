"""Transcription by the models that hear audio sent along with the request.

Sources: https://www.alibabacloud.com/help/en/model-studio/qwen-asr-api-reference and
https://www.alibabacloud.com/help/en/model-studio/fun-asr-flash-recorded-speech-recognition-http-api
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.dashscope import paths
from providers.dialects.dashscope.errors import output
from providers.dialects.vocabulary import bad, put, refuse_others, unsupported
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Transcript, UpstreamRequest

MAX_BASE64_BYTES = 10 * 1024 * 1024
_MEDIA_TYPE = re.compile(r"[\w.+\-]{1,64}/[\w.+\-]{1,64}", re.A)
_SOCKET_ONLY = re.compile(r"-realtime(?:-|$)", re.I)
_QWEN = re.compile(r"^qwen3-asr-flash(?!.*-filetrans)", re.I)
_FUN = re.compile(r"^(?:fun-asr-flash|qwen-audio-[\d.]+-asr-flash)(?!.*-filetrans)", re.I)
_FORMATS = {"mpeg": "mp3", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a"}
# Audio in which nobody speaks is an error to DashScope; here it is an empty transcript.
_SILENT = re.compile(rb"ASR_RESPONSE_HAVE_NO_WORDS|SUCCESS_WITH_NO_VALID_FRAGMENT")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`prompt` is text that the audio may be about; `enable_itn` writes numbers as digits."""
    require(payload, "file")
    _check_model(target.upstream_model)
    asked = target.quirks.apply_params(Operation.TRANSCRIPTION, payload)
    known = {"file", "filename", "media_type", "language", "prompt", "enable_itn", "response_format"}
    refuse_others(asked, known, "dashscope")
    if asked.get("response_format") not in (None, "json", "text"):
        raise unsupported("a transcript with times", "dashscope")
    audio, kind, prompt = asked["file"], asked.get("media_type") or "audio/wav", asked.get("prompt")
    if not isinstance(audio, bytes | bytearray):
        raise bad("The audio must be bytes.")
    if not isinstance(kind, str) or not _MEDIA_TYPE.fullmatch(kind):
        raise bad("The audio's media type is malformed.")
    if prompt is not None and not isinstance(prompt, str):
        raise bad("The prompt is not a text.")
    encoded = base64.b64encode(audio).decode()
    if len(encoded) > MAX_BASE64_BYTES:
        raise bad("The audio is too long: 10 MB is the most, in Base64.")
    shape = _fun_body if _FUN.match(target.upstream_model) else _qwen_body
    body = {"model": target.upstream_model, **shape(asked, prompt, f"data:{kind};base64,{encoded}", kind)}
    return json_request(paths.url(target, Operation.TRANSCRIPTION, paths.GENERATION), body)


def _qwen_body(asked: Mapping[str, Any], prompt: str | None, audio: str, kind: str) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": [{"text": prompt}]}] if prompt else []
    messages.append({"role": "user", "content": [{"audio": audio}]})
    options: dict[str, Any] = {}
    put(options, language=asked.get("language"), enable_itn=asked.get("enable_itn"))
    return {"input": {"messages": messages}, **({"parameters": {"asr_options": options}} if options else {})}


def _fun_body(asked: Mapping[str, Any], prompt: str | None, audio: str, kind: str) -> dict[str, Any]:
    if asked.get("enable_itn") is not None:
        raise unsupported("the parameter enable_itn for this model", "dashscope")
    hint = {"type": "input_text", "text": prompt}
    messages: list[dict[str, Any]] = [{"role": "user", "content": [hint]}] if prompt else []
    messages.append({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": audio}}]})
    form = kind.partition("/")[2].lower().removeprefix("x-")
    parameters: dict[str, Any] = {"format": _FORMATS.get(form, form)}
    put(parameters, language_hints=[asked["language"]] if asked.get("language") else None)
    return {"input": {"messages": messages}, "parameters": parameters}


def _check_model(name: str) -> None:
    if _SOCKET_ONLY.search(name):
        why = "This model listens over a WebSocket only."
    elif not _QWEN.match(name) and not _FUN.match(name):
        why = "This model transcribes audio at a public URL only, in a job of its own."
    else:
        return
    raise Unsupported(why, hint="Use a model that takes the audio itself, such as qwen3-asr-flash.", step="build")


def is_silence(status: int, body: bytes) -> bool:
    """Whether this error says no more than that nobody speaks."""
    return status == 400 and _SILENT.search(body[:2000]) is not None


def parse(headers: Mapping[str, str], body: bytes) -> Transcript:
    data = load_object(headers, body)
    found = output(data, headers, body)
    text = chosen_text(found) if "choices" in found else _sentences(found)
    if text is None:
        raise unexpected("The answer holds no transcript.", headers, body)
    usage = data.get("usage")
    return Transcript(text, usage=usage if isinstance(usage, dict) else None)


def chosen_text(found: Mapping[str, Any]) -> str | None:
    """The text of an answer that has the shape of a chat; None if it has none."""
    choices = found.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else _joined(content)  # silence is an empty list


def _sentences(found: Mapping[str, Any]) -> str | None:
    """The text of a Fun-ASR model's answer."""
    inner = found.get("output")
    inner = inner if isinstance(inner, dict) else found
    if isinstance(inner.get("sentences"), list):
        return _joined(inner["sentences"])
    if isinstance(inner.get("sentence"), dict):
        return _joined([inner["sentence"]])
    text = inner.get("text")
    return text if isinstance(text, str) else None


def _joined(parts: Any) -> str | None:
    texts = (
        [part.get("text") if isinstance(part, dict) else None for part in parts] if isinstance(parts, list) else [None]
    )
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None
