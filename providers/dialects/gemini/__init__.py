"""Google's Gemini API, spoken to in OpenAI's vocabulary. Source: https://ai.google.dev/api"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.gemini import chat, embeddings, errors, models, stream
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "gemini",
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.MODELS: models,
    },
    errors.raise_for,
    stream.ContentDecoder,
)
