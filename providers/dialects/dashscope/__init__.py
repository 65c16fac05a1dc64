"""DashScope, the API of Alibaba Cloud's Model Studio itself: reranking, speech, transcription and OCR.

Its chat and its embeddings are called in OpenAI's format, on the same host.
Source: https://www.alibabacloud.com/help/en/model-studio/
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.dashscope import errors, ocr, rerank, speech, transcription
from providers.wire import Operation, Reply, Transcript


class DashScope(ByOperation):
    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        if operation is Operation.TRANSCRIPTION and transcription.is_silence(status, body):
            return Transcript("")
        return super().parse(operation, status, headers, body)


DIALECT: Dialect = DashScope(
    "dashscope",
    {
        Operation.OCR: ocr,
        Operation.RERANK: rerank,
        Operation.SPEECH: speech,
        Operation.TRANSCRIPTION: transcription,
    },
    errors.raise_for,
)
