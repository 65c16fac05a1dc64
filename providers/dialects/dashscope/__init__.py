"""DashScope, the API of Alibaba Cloud's Model Studio itself: reranking, speech and transcription.

Its chat and its embeddings are called in OpenAI's format, on the same host.
Source: https://www.alibabacloud.com/help/en/model-studio/
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder
from providers.dialects.dashscope import errors, rerank, speech, transcription
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, Transcript, UpstreamRequest

_MODULES: dict[Operation, ModuleType] = {
    Operation.RERANK: rerank,
    Operation.SPEECH: speech,
    Operation.TRANSCRIPTION: transcription,
}


class DashScope:
    name = "dashscope"
    operations = frozenset(_MODULES)

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        built: UpstreamRequest = self._module(operation).build(payload, target)
        return built

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        module = self._module(operation)
        if operation is Operation.TRANSCRIPTION and transcription.is_silence(status, body):
            return Transcript("")
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


DIALECT: Dialect = DashScope()
