"""NVIDIA's reranking, in the cloud and as a NIM of one's own; for all else NVIDIA speaks OpenAI's format.

Sources: https://docs.api.nvidia.com/nim/reference/nvidia-llama-3_2-nv-rerankqa-1b-v2-infer and
https://docs.nvidia.com/nim/nemo-retriever/text-reranking/latest/using-reranking.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder
from providers.dialects.nvidia import errors, rerank
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation, Reply, UpstreamRequest


class NVIDIA:
    name = "nvidia"
    operations = frozenset({Operation.RERANK})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        self._check(operation)
        return rerank.build(payload, target)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        return rerank.parse(headers, body)

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


DIALECT: Dialect = NVIDIA()
