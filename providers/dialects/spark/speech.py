"""Speech: one message with the text, and pieces of the audio in return, the last of which has the status 2.

The voice (发音人) is the request's, or else the model's name. Source: https://www.xfyun.cn/doc/tts/online_tts/API.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from providers.dialects.base import USER_AGENT, require
from providers.dialects.bodies import unexpected
from providers.dialects.spark import errors
from providers.dialects.vocabulary import bad, number, put, refuse_others, unsupported
from providers.errors import BadReply
from providers.target import Target
from providers.wire import Operation, SocketRequest, Speech, UpstreamRequest

APP_ID = "spark_app_id"
MAX_TEXT_BYTES = 8000
_MP3 = {"aue": "lame", "sfl": 1, "auf": "audio/L16;rate=16000", "tte": "UTF8"}


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`volume` and `pitch` (0–100), `bgs`, `reg` and `rdn` are passed on; the audio is always MP3 at 16 kHz."""
    require(payload, "input")
    asked = target.quirks.apply_params(Operation.SPEECH, payload)
    known = {"input", "voice", "response_format", "speed", "volume", "pitch", "bgs", "reg", "rdn"}
    refuse_others(asked, known, "spark")
    text, voice = asked["input"], asked.get("voice") or target.upstream_model
    if not isinstance(text, str) or not isinstance(voice, str):
        raise bad("The input and the voice must be texts.")
    data = text.encode("utf-8", "replace")
    if len(data) >= MAX_TEXT_BYTES:
        raise bad("The input is too long: fewer than 8000 bytes are spoken in one call.")
    if asked.get("response_format") not in (None, "mp3"):
        raise unsupported("another audio format than mp3", "spark")
    if asked.get("speed") not in (None, 1):
        raise unsupported("another speed than 1", "spark")
    app_id = target.credential.fields.get(APP_ID)
    if not app_id:
        raise bad("The credential has no app id, which iFlytek's speech needs.")
    business = {**_MP3, "vcn": voice}
    put(business, volume=number(asked, "volume", 0, 100), pitch=number(asked, "pitch", 0, 100))
    put(business, bgs=number(asked, "bgs", 0, 1), reg=asked.get("reg"), rdn=asked.get("rdn"))
    said = {"status": 2, "text": base64.b64encode(data).decode()}
    try:
        body = orjson.dumps({"common": {"app_id": app_id}, "business": business, "data": said})
    except TypeError:
        raise bad("The request holds something that JSON cannot carry.") from None
    url = target.url_for(Operation.SPEECH, "/tts").replace("http", "ws", 1)
    return SocketRequest("GET", url, {"User-Agent": USER_AGENT}, body, is_last=_is_last)


def parse(headers: Mapping[str, str], body: bytes) -> Speech:
    pieces = []
    message: dict[str, Any] = {}
    for line in body.splitlines():
        message = _read(line)
        if message.get("code") != 0:
            raise errors.of(message)
        audio = _data(message).get("audio")
        try:
            pieces.append(base64.b64decode(audio or "", validate=True))
        except (binascii.Error, ValueError, TypeError):
            raise unexpected("The audio is not Base64.", {}, line) from None
    if _data(message).get("status") != 2:
        raise BadReply("The audio was cut off before its end.", step="body")
    sound = b"".join(pieces)
    if not sound:
        raise BadReply("The answer holds no audio.", step="parse")
    return Speech(sound, "audio/mpeg")


def _is_last(message: str) -> bool:
    try:
        read = _read(message.encode("utf-8", "replace"))
    except BadReply:
        return True  # whatever it is, it will not get better
    return read.get("code") != 0 or _data(read).get("status") == 2


def _read(line: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict) or type(message.get("code")) is not int:
        raise unexpected("A message of the answer is not a JSON object with a code.", {}, line)
    return message


def _data(message: Mapping[str, Any]) -> Mapping[str, Any]:
    data = message.get("data")
    return data if isinstance(data, dict) else {}
