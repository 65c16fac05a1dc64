"""Google Cloud's Vertex AI: Gemini models, and Claude models as Anthropic's Messages API has them.

Whose model it is decides what is sent (`names.split`); an answer tells itself whose it is (`whose.py`).
Source: https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.vertex import chat, embeddings, errors, models, stream
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "vertex",
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.MODELS: models,
    },
    errors.raise_for,
    stream.AnyDecoder,
)
