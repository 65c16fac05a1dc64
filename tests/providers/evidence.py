"""What each wire format is tested against, operation by operation; docs/providers.md shows it."""

from __future__ import annotations

from collections.abc import Mapping

from providers.wire import Operation

KINDS: Mapping[str, str] = {
    "documentation": "exchanges written after the vendor's documentation, and answers of any other shape",
    "llama.cpp": "a real server of another project, on a socket",
    "aimock": "a mock server of another project, on a socket",
    "socket": "our own fake server, on a socket",
}
_ALL = ("documentation", "llama.cpp", "aimock", "socket")
_MOCKED = ("documentation", "aimock")
_FAKED = ("documentation", "socket")

EVIDENCE: Mapping[str, Mapping[Operation, tuple[str, ...]]] = {
    "anthropic": {Operation.CHAT: _MOCKED},
    "ark": {Operation.EMBEDDINGS: _FAKED},
    "bedrock": {
        Operation.CHAT: _MOCKED,
        Operation.EMBEDDINGS: ("documentation",),
        Operation.RERANK: ("documentation",),
    },
    "cohere": {
        Operation.CHAT: _MOCKED,
        Operation.EMBEDDINGS: _MOCKED,
        Operation.RERANK: _MOCKED,
        Operation.TRANSCRIPTION: ("documentation",),
    },
    "dashscope": {
        Operation.OCR: _FAKED,
        Operation.RERANK: _FAKED,
        Operation.SPEECH: _FAKED,
        Operation.TRANSCRIPTION: _FAKED,
    },
    "deepgram": {Operation.TRANSCRIPTION: _FAKED},
    "fish_audio": {Operation.SPEECH: _FAKED},
    "gemini": {Operation.CHAT: _MOCKED, Operation.EMBEDDINGS: _MOCKED},
    "mineru": {Operation.OCR: _FAKED},
    "mistral_ocr": {Operation.OCR: _FAKED},
    "nvidia": {Operation.RERANK: _FAKED},
    "ollama": {Operation.CHAT: _MOCKED, Operation.EMBEDDINGS: _MOCKED},
    "openai": {
        Operation.CHAT: _ALL,
        Operation.EMBEDDINGS: _ALL,
        Operation.RERANK: ("documentation", "llama.cpp", "socket"),
        Operation.TRANSCRIPTION: ("documentation", "aimock", "socket"),
        Operation.SPEECH: ("documentation", "aimock", "socket"),
    },
    "opendataloader": {Operation.OCR: _FAKED},
    "paddleocr": {Operation.OCR: _FAKED},
    "perplexity": {Operation.EMBEDDINGS: _FAKED},
    "replicate": {Operation.CHAT: _FAKED, Operation.EMBEDDINGS: _FAKED},
    "spark": {Operation.SPEECH: _FAKED},
    "tencent": {Operation.TRANSCRIPTION: _FAKED},
    "somark": {Operation.OCR: _FAKED},
    "tei": {
        Operation.EMBEDDINGS: _FAKED,
        Operation.RERANK: ("documentation", "llama.cpp", "socket"),
    },
    "vertex": {Operation.CHAT: _MOCKED, Operation.EMBEDDINGS: ("documentation",)},
    "voyage": {Operation.EMBEDDINGS: ("documentation",)},
}
