"""VolcEngine Ark's embeddings; its chat is OpenAI's format. Source: https://docs.volcengine.com/docs/ark/vectorization"""

from __future__ import annotations

from providers.dialects.ark import embeddings
from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import errors
from providers.wire import Operation

DIALECT: Dialect = ByOperation("ark", {Operation.EMBEDDINGS: embeddings}, errors.raise_for)
