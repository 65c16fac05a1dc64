"""OCR: a file in Base64 in, the Markdown of each page out.

Source: https://www.paddleocr.ai/latest/en/version3.x/pipeline_usage/PaddleOCR-VL.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record
from providers.dialects.documents import read_pages, read_request
from providers.dialects.failures import classify_body
from providers.dialects.vocabulary import put_same
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

PATH = "/layout-parsing"
_PDF, _PICTURE = 0, 1
_NATIVE = (
    *("useDocOrientationClassify", "useDocUnwarping", "useLayoutDetection", "useChartRecognition", "layoutThreshold"),
    *("layoutNms", "promptLabel", "repetitionPenalty", "temperature", "topP", "minPixels", "maxPixels"),
    *("prettifyMarkdown", "showFormulaNumber"),
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """The server has one pipeline, so no model is named. It is asked for no pictures of what it found."""
    asked, upload = read_request(payload, target, _NATIVE, "paddleocr")
    body: dict[str, Any] = {
        "file": upload.base64,
        "fileType": _PDF if upload.is_pdf else _PICTURE,
        "visualize": False,
    }
    put_same(body, asked, _NATIVE)
    return json_request(target.url_for(Operation.OCR, PATH), body)


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    if data.get("errorCode"):
        raise classify_body(200, body)
    pages = (record(data, "result") or {}).get("layoutParsingResults")
    if not isinstance(pages, list):
        raise unexpected("The answer holds no pages.", headers, body)
    return Document(read_pages(((record(page, "markdown") or {}).get("text") for page in pages), headers, body))
