"""MinerU's own API server. Source: https://github.com/opendatalab/MinerU (mineru-api, POST /file_parse)"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.mineru import ocr
from providers.dialects.openai import errors
from providers.wire import Operation

DIALECT: Dialect = ByOperation("mineru", {Operation.OCR: ocr}, errors.raise_for)
