"""OCR: a PDF or a picture, pages of Markdown out. Source: https://docs.mistral.ai/api/endpoint/ocr"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record, text
from providers.dialects.documents import read_pages, read_request, url_of
from providers.dialects.failures import classify_body
from providers.dialects.vocabulary import put_same
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

_NATIVE = (
    *("pages", "include_image_base64", "image_limit", "image_min_size", "table_format", "extract_header"),
    *("extract_footer", "bbox_annotation_format", "document_annotation_format", "document_annotation_prompt"),
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """Bytes go as a data URL. A `document` is Mistral's own request already: it goes as it is, with all beside it."""
    place = target.url_for(Operation.OCR, "/ocr")
    if payload.get("document") is not None:
        url_of(payload["document"])
        named = {**payload, "model": target.upstream_model}
        return json_request(place, target.quirks.apply_params(Operation.OCR, named))
    asked, upload = read_request(payload, target, _NATIVE, "mistral_ocr")
    url = f"data:{upload.media_type};base64,{upload.base64}"
    if upload.is_pdf:
        document = {"type": "document_url", "document_url": url, "document_name": upload.filename}
    else:
        document = {"type": "image_url", "image_url": url}
    body: dict[str, Any] = {"model": target.upstream_model, "document": document}
    put_same(body, asked, _NATIVE)
    return json_request(place, body)


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    pages = data.get("pages")
    if not isinstance(pages, list):
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no pages.", headers, body)
    found = (page.get("markdown") if isinstance(page, dict) else None for page in pages)
    return Document(read_pages(found, headers, body), record(data, "usage_info"), text(data, "model"))
