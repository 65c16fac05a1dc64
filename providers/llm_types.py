"""What a model does. A model may have several types; the first is its primary one."""

from __future__ import annotations

from enum import StrEnum


class LLMType(StrEnum):
    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    IMAGE2TEXT = "image2text"
    SPEECH2TEXT = "speech2text"
    TTS = "tts"
    OCR = "ocr"
