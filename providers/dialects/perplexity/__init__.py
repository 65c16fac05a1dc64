"""Perplexity's embeddings; its chat is OpenAI's format. Source: https://docs.perplexity.ai/docs/embeddings"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import errors
from providers.dialects.perplexity import embeddings
from providers.wire import Operation

DIALECT: Dialect = ByOperation("perplexity", {Operation.EMBEDDINGS: embeddings}, errors.raise_for)
