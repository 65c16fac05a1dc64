"""The cheapest call that proves a model of each type to work, and what its reply must hold."""

from __future__ import annotations

import base64
import io
import math
import struct
import wave
import zlib
from functools import cache
from typing import Any

from providers.errors import BadReply
from providers.llm_types import LLMType
from providers.quirks import Quirks
from providers.wire import Document, Embeddings, Ranking, Reply, Speech, Transcript


def probe_payload(llm_type: LLMType | str, quirks: Quirks) -> dict[str, Any]:
    """The payload of the probe."""
    match LLMType(llm_type):
        case LLMType.CHAT:
            return {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": quirks.probe_max_tokens}
        case LLMType.IMAGE2TEXT:
            content = [
                {"type": "text", "text": "Describe this picture in one word."},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png_base64()}"}},
            ]
            return {"messages": [{"role": "user", "content": content}], "max_tokens": quirks.probe_max_tokens}
        case LLMType.EMBEDDING:
            return {"input": ["Test if the api key is available"]}
        case LLMType.RERANK:
            return {"query": "What's the weather?", "documents": ["Is it sunny today?"]}
        case LLMType.TTS:
            return {"input": "Hello"}
        case LLMType.SPEECH2TEXT:
            return {"file": silent_wav(), "filename": "silence.wav", "media_type": "audio/wav"}
        case LLMType.OCR:
            if quirks.probe_pdf:
                return {"file": tiny_pdf(), "filename": "probe.pdf", "media_type": "application/pdf"}
            return {"file": tiny_png(), "filename": "probe.png", "media_type": "image/png"}


def check_reply(llm_type: LLMType | str, reply: Reply) -> None:
    """Raise BadReply unless the reply holds what a model of this type answers."""
    match LLMType(llm_type):
        case LLMType.CHAT | LLMType.IMAGE2TEXT:
            fine = isinstance(reply, dict) and bool(reply.get("choices"))
            _check(fine, "The answer has no choice.")  # its text may be empty: a model may still be thinking
        case LLMType.EMBEDDING:
            vectors = reply.vectors if isinstance(reply, Embeddings) else []
            fine = bool(vectors) and all(vector and all(map(math.isfinite, vector)) for vector in vectors)
            _check(fine, "The answer has no vector of finite numbers.")
        case LLMType.RERANK:
            _check(isinstance(reply, Ranking) and len(reply) > 0, "The answer has no score.")
        case LLMType.TTS:
            _check(isinstance(reply, Speech) and len(reply.audio) > 0, "The answer has no audio.")
        case LLMType.SPEECH2TEXT:
            _check(isinstance(reply, Transcript), "The answer has no transcript.")
        case LLMType.OCR:
            fine = isinstance(reply, Document) and len(reply) > 0
            _check(fine, "The answer has no page.")  # its text may be empty: there is none in the picture


def _check(fine: bool, otherwise: str) -> None:
    if not fine:
        raise BadReply(otherwise, hint="Check that the model is of this type.", step="parse")


def silent_wav(duration_s: float = 0.5, rate_hz: int = 16_000) -> bytes:
    """Silence: mono, 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(b"\0\0" * round(duration_s * rate_hz))
    return out.getvalue()


def tiny_png(side: int = 64) -> bytes:
    """A red square, large enough for models that refuse pictures of a few pixels."""
    rows = (b"\0" + b"\xe0\x30\x30" * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", zlib.compress(rows, 9)) + _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiny_pdf() -> bytes:
    """A page with one word. Source: ISO 32000-1, annex H.3."""
    words = b"BT /F1 24 Tf 40 100 Td (Hello) Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(words), words),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        table,
        size,
        len(out),
    )


@cache
def _png_base64() -> str:
    return base64.b64encode(tiny_png()).decode()


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
