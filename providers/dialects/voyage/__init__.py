"""Voyage AI's multimodal embeddings; its other models are called in OpenAI's format.

Source: https://docs.voyageai.com/reference/multimodal-embeddings-api
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import errors
from providers.dialects.voyage import embeddings
from providers.wire import Operation

DIALECT: Dialect = ByOperation("voyage", {Operation.EMBEDDINGS: embeddings}, errors.raise_for)
