"""Replicate's predictions: a model's input in, its output out, waited for within the one call.

Sources: https://replicate.com/docs/topics/predictions/create-a-prediction and
https://replicate.com/docs/topics/predictions/lifecycle
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder
from providers.dialects.replicate import chat, embeddings, errors
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest

_MODULES: dict[Operation, ModuleType] = {Operation.CHAT: chat, Operation.EMBEDDINGS: embeddings}


class Replicate:
    name = "replicate"
    operations = frozenset(_MODULES)

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        built: UpstreamRequest = self._module(operation).build(payload, target)
        return built

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        module = self._module(operation)
        errors.raise_for(status, headers, body)
        reply: Reply = module.parse(headers, body)
        return reply

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _module(self, operation: Operation) -> ModuleType:
        module = _MODULES.get(operation)
        if module is None:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")
        return module


DIALECT: Dialect = Replicate()
