"""Replicate's predictions: a model's input in, its output out, waited for within the one call.

Sources: https://replicate.com/docs/topics/predictions/create-a-prediction and
https://replicate.com/docs/topics/predictions/lifecycle
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.replicate import chat, embeddings, errors
from providers.wire import Operation

DIALECT: Dialect = ByOperation("replicate", {Operation.CHAT: chat, Operation.EMBEDDINGS: embeddings}, errors.raise_for)
