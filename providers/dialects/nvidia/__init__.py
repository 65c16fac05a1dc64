"""NVIDIA's reranking, in the cloud and as a NIM of one's own; for all else NVIDIA speaks OpenAI's format.

Sources: https://docs.api.nvidia.com/nim/reference/nvidia-llama-3_2-nv-rerankqa-1b-v2-infer and
https://docs.nvidia.com/nim/nemo-retriever/text-reranking/latest/using-reranking.html
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.nvidia import errors, rerank
from providers.wire import Operation

DIALECT: Dialect = ByOperation("nvidia", {Operation.RERANK: rerank}, errors.raise_for)
