"""The wire format of Cohere's API, version 2; one module for each operation. Source: https://docs.cohere.com/reference/about"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.cohere import chat, embeddings, errors, models, rerank, stream, transcription
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "cohere",
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.RERANK: rerank,
        Operation.TRANSCRIPTION: transcription,
        Operation.MODELS: models,
    },
    errors.raise_for,
    stream.ChatDecoder,
)
