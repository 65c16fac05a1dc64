"""SoMark's document parsing. Source: https://docs.somark.ai/en/api-reference"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.somark import errors, ocr
from providers.wire import Operation

DIALECT: Dialect = ByOperation("somark", {Operation.OCR: ocr}, errors.raise_for)
