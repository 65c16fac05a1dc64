"""OpenDataLoader as a service: its converter behind HTTP, as RAGFlow ships it in a container.

Source: https://github.com/infiniflow/ragflow (docker/opendataloader-service, POST /file_parse)
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import errors
from providers.dialects.opendataloader import ocr
from providers.wire import Operation

DIALECT: Dialect = ByOperation("opendataloader", {Operation.OCR: ocr}, errors.raise_for)
