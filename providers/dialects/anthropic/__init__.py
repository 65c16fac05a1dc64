"""Anthropic's Messages API, spoken to in OpenAI's vocabulary. Source: https://platform.claude.com/docs/en/api/overview"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.anthropic import errors, models, reply, request, stream
from providers.dialects.base import Dialect, StreamDecoder
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest


class Anthropic:
    name = "anthropic"
    operations = frozenset({Operation.CHAT, Operation.MODELS})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        self._check(operation)
        return request.build(payload, target) if operation is Operation.CHAT else models.build(payload, target)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        return reply.parse(headers, body) if operation is Operation.CHAT else models.parse(headers, body)

    def decoder(self, operation: Operation) -> StreamDecoder:
        if operation is not Operation.CHAT:
            raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")
        return stream.MessageDecoder()

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


DIALECT: Dialect = Anthropic()
