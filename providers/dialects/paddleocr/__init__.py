"""PaddleOCR's document parsing, as its pipelines are served.

Source: https://www.paddleocr.ai/latest/en/version3.x/pipeline_usage/PaddleOCR-VL.html
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.openai import errors
from providers.dialects.paddleocr import ocr
from providers.wire import Operation

DIALECT: Dialect = ByOperation("paddleocr", {Operation.OCR: ocr}, errors.raise_for)
