"""Amazon Bedrock's runtime: Converse for chats, InvokeModel for the rest; and its lists of models.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.bedrock import chat, embeddings, errors, models, rerank, stream
from providers.dialects.bedrock.paths import NAME
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    NAME,
    {
        Operation.CHAT: chat,
        Operation.EMBEDDINGS: embeddings,
        Operation.RERANK: rerank,
        Operation.MODELS: models,
    },
    errors.raise_for,
    stream.ConverseDecoder,
)
