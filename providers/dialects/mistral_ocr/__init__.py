"""Mistral's OCR: a PDF or a picture in a data URL, pages of Markdown out. Its list of models is OpenAI's.

Source: https://docs.mistral.ai/api/endpoint/ocr
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder, json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.documents import FIELDS, read_upload
from providers.dialects.failures import classify_body
from providers.dialects.openai import errors, models
from providers.dialects.vocabulary import put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Document, Operation, Reply, UpstreamRequest

_NATIVE = (
    *("pages", "include_image_base64", "image_limit", "image_min_size", "table_format", "extract_header"),
    *("extract_footer", "bbox_annotation_format", "document_annotation_format", "document_annotation_prompt"),
)


class MistralOCR:
    name = "mistral_ocr"
    operations = frozenset({Operation.OCR, Operation.MODELS})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        self._check(operation)
        if operation is Operation.MODELS:
            return models.build(payload, target)
        asked = target.quirks.apply_params(Operation.OCR, payload)
        refuse_others(asked, {*FIELDS, *_NATIVE}, self.name)
        upload = read_upload(asked)
        url = f"data:{upload.media_type};base64,{upload.base64}"
        if upload.is_pdf:
            document = {"type": "document_url", "document_url": url, "document_name": upload.filename}
        else:
            document = {"type": "image_url", "image_url": url}
        body: dict[str, Any] = {"model": target.upstream_model, "document": document}
        put(body, **{name: asked.get(name) for name in _NATIVE})
        return json_request(target.url_for(Operation.OCR, "/ocr"), body)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        return models.parse(headers, body) if operation is Operation.MODELS else _document(headers, body)

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


def _document(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    pages = data.get("pages")
    if not isinstance(pages, list):
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no pages.", headers, body)
    texts = [text for page in pages if isinstance(page, dict) and isinstance(text := page.get("markdown"), str)]
    if len(texts) != len(pages):
        raise unexpected("A page of the answer has no Markdown.", headers, body)
    usage, model = data.get("usage_info"), data.get("model")
    return Document(texts, usage if isinstance(usage, dict) else None, model if isinstance(model, str) else "")


DIALECT: Dialect = MistralOCR()
