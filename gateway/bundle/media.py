"""Pictures and recordings as callers in Python have them."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

from core.errors import InvalidInput

_BEGINNINGS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def image_url(image: Any) -> str:
    """A URL for a picture: of bytes, a path, a file that is open, an image of Pillow's, or a URL itself."""
    if isinstance(image, str) and image.startswith(("data:", "https://", "http://")):
        return image
    data = _bytes(image)
    return f"data:{_media_type(data)};base64,{base64.b64encode(data).decode()}"


def recording(audio: Any) -> tuple[bytes, str]:
    """The bytes and the file's name of a recording: of a path, bytes, or a file that is open."""
    if isinstance(audio, str):
        audio = Path(audio)
    named = audio if isinstance(audio, Path) else Path(str(getattr(audio, "name", "") or "audio.wav"))
    return _bytes(audio), named.name


def _bytes(given: Any) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        data = bytes(given)
    elif isinstance(given, Path):
        try:
            data = given.read_bytes()
        except OSError as error:
            raise InvalidInput(f"The file cannot be read: {error.strerror}.") from None
    elif hasattr(given, "read"):
        data = given.read()
    elif hasattr(given, "save"):
        kept = BytesIO()
        given.save(kept, format="PNG")
        data = kept.getvalue()
    else:
        data = b""
    if not isinstance(data, bytes) or not data:
        raise InvalidInput("There is nothing in it.", hint="Give bytes, a path, or a file opened for reading bytes.")
    return data


def _media_type(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), "image/jpeg")
