"""Replicate's predictions: a model's input in, its output out, waited for within the call and then asked for.

A stream comes from an address that the answer names, on a host of its own: that is not followed.
Sources: https://replicate.com/docs/topics/predictions/create-a-prediction, …/predictions/lifecycle and
…/predictions/streaming
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.replicate import chat, embeddings, errors
from providers.wire import Operation

DIALECT: Dialect = ByOperation("replicate", {Operation.CHAT: chat, Operation.EMBEDDINGS: embeddings}, errors.raise_for)
