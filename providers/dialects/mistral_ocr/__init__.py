"""Mistral's OCR; its list of models is OpenAI's. Source: https://docs.mistral.ai/api/endpoint/ocr"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.mistral_ocr import ocr
from providers.dialects.openai import errors, models
from providers.wire import Operation

DIALECT: Dialect = ByOperation("mistral_ocr", {Operation.OCR: ocr, Operation.MODELS: models}, errors.raise_for)
