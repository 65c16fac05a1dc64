"""OCR: a PDF is uploaded, its Markdown comes back as one text. Pictures are not read.

Sources: https://github.com/infiniflow/ragflow (docker/opendataloader-service) and
https://opendataloader.org/docs/quick-start-python for what the options mean
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.bodies import load_object, unexpected
from providers.dialects.documents import read_pages, read_request
from providers.dialects.failures import classify_body
from providers.dialects.multipart import form_request
from providers.dialects.vocabulary import bad, put_same
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

PATH = "/file_parse"
_NATIVE = ("hybrid", "image_output", "sanitize")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    asked, upload = read_request(payload, target, _NATIVE, "opendataloader")
    if not upload.is_pdf:
        raise Unsupported("OpenDataLoader reads PDF files only.", hint="Send the picture as a PDF.", step="build")
    fields: dict[str, Any] = {}
    put_same(fields, asked, _NATIVE)
    if any(isinstance(value, list | dict) for value in fields.values()):
        raise bad("A parameter is not one value.")
    file = ("file", upload.content, upload.filename, upload.media_type)
    return form_request(target.url_for(Operation.OCR, PATH), fields, file)


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    if data.get("error"):
        raise classify_body(200, body)
    if "md_text" not in data:
        raise unexpected("The answer holds no Markdown.", headers, body)
    # A document in which nothing was found has none.
    return Document(read_pages(["" if data["md_text"] is None else data["md_text"]], headers, body))
