"""Anthropic's Messages API, spoken to in OpenAI's vocabulary. Source: https://platform.claude.com/docs/en/api/overview"""

from __future__ import annotations

from providers.dialects.anthropic import chat, errors, models, stream
from providers.dialects.base import ByOperation, Dialect
from providers.wire import Operation

DIALECT: Dialect = ByOperation(
    "anthropic", {Operation.CHAT: chat, Operation.MODELS: models}, errors.raise_for, stream.MessageDecoder
)
