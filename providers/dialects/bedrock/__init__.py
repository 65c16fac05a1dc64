"""Amazon Bedrock's runtime: Converse for chats, InvokeModel for the rest; and its lists of models.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder
from providers.dialects.bedrock import embeddings, errors, models, reply, request, rerank, stream
from providers.dialects.bedrock.paths import NAME
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest

_BUILD: dict[Operation, ModuleType] = {
    Operation.CHAT: request,
    Operation.EMBEDDINGS: embeddings,
    Operation.RERANK: rerank,
    Operation.MODELS: models,
}
_PARSE: dict[Operation, ModuleType] = {**_BUILD, Operation.CHAT: reply}


class Bedrock:
    name = NAME
    operations = frozenset(_BUILD)

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        built: UpstreamRequest = self._module(_BUILD, operation).build(payload, target)
        return built

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        module = self._module(_PARSE, operation)
        errors.raise_for(status, headers, body)
        parsed: Reply = module.parse(headers, body)
        return parsed

    def decoder(self, operation: Operation) -> StreamDecoder:
        if operation is not Operation.CHAT:
            raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")
        return stream.ConverseDecoder()

    def _module(self, modules: Mapping[Operation, ModuleType], operation: Operation) -> ModuleType:
        module = modules.get(operation)
        if module is None:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")
        return module


DIALECT: Dialect = Bedrock()
