"""The wire format of Ollama's own API; one module for each operation. Source: https://docs.ollama.com/api"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.ollama import chat, embeddings, errors, models, stream
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "ollama",
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.MODELS: models,
    },
    errors.raise_for,
    stream.ChatDecoder,
)
