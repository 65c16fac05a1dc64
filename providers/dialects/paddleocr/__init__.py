"""PaddleOCR's document parsing, as its pipelines are served: a file in base64 in, the Markdown of each page out.

Source: https://www.paddleocr.ai/latest/en/version3.x/pipeline_usage/PaddleOCR-VL.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import Dialect, StreamDecoder, json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.documents import FIELDS, read_upload
from providers.dialects.failures import classify_body
from providers.dialects.openai import errors
from providers.dialects.vocabulary import put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Document, Operation, Reply, UpstreamRequest

PATH = "/layout-parsing"
_PDF, _PICTURE = 0, 1
_NATIVE = (
    *("useDocOrientationClassify", "useDocUnwarping", "useLayoutDetection", "useChartRecognition", "layoutThreshold"),
    *("layoutNms", "promptLabel", "repetitionPenalty", "temperature", "topP", "minPixels", "maxPixels"),
    *("prettifyMarkdown", "showFormulaNumber"),
)


class PaddleOCR:
    name = "paddleocr"
    operations = frozenset({Operation.OCR})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        """The server has one pipeline, so no model is named. It is asked for no pictures of what it found."""
        self._check(operation)
        asked = target.quirks.apply_params(Operation.OCR, payload)
        refuse_others(asked, {*FIELDS, *_NATIVE}, self.name)
        upload = read_upload(asked)
        body: dict[str, Any] = {
            "file": upload.base64,
            "fileType": _PDF if upload.is_pdf else _PICTURE,
            "visualize": False,
        }
        put(body, **{name: asked.get(name) for name in _NATIVE})
        return json_request(target.url_for(Operation.OCR, PATH), body)

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        data = load_object(headers, body)
        if data.get("errorCode"):
            raise classify_body(200, body)
        result = data.get("result")
        pages = result.get("layoutParsingResults") if isinstance(result, dict) else None
        if not isinstance(pages, list):
            raise unexpected("The answer holds no pages.", headers, body)
        texts = [text for page in pages if (text := _markdown(page)) is not None]
        if len(texts) != len(pages):
            raise unexpected("A page of the answer has no Markdown.", headers, body)
        return Document(texts)

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


def _markdown(page: Any) -> str | None:
    markdown = page.get("markdown") if isinstance(page, dict) else None
    text = markdown.get("text") if isinstance(markdown, dict) else None
    return text if isinstance(text, str) else None


DIALECT: Dialect = PaddleOCR()
