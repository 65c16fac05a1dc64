"""The wire format of Hugging Face's text-embeddings-inference; one module for each operation.

Source: https://huggingface.github.io/text-embeddings-inference/
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.tei import embeddings, errors, models, rerank
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "tei",
    {
        Operation.EMBEDDINGS: embeddings,
        Operation.RERANK: rerank,
        Operation.MODELS: models,
    },
    errors.raise_for,
)
