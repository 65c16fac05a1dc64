"""The wire format of OpenAI's API, which most vendors and runtimes speak; one module for each operation."""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import chat, embeddings, errors, models, rerank, speech, transcription
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "openai",
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.RERANK: rerank,
        Operation.TRANSCRIPTION: transcription,
        Operation.SPEECH: speech,
        Operation.MODELS: models,
    },
    errors.raise_for,
    chat.ChatDecoder,
)
