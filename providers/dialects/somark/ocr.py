"""OCR: a file is uploaded, its Markdown comes back as one text in the same call.

The key is a field of the form, which the signer adds. Source: https://docs.somark.ai/en/api-reference/endpoint/sync
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record, text, tokens
from providers.dialects.documents import read_pages, read_request
from providers.dialects.multipart import form_request
from providers.dialects.somark.errors import in_body
from providers.dialects.vocabulary import bad, put_same
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

PATH = "/parse/sync"
_NATIVE = ("element_formats", "feature_config")


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """There is one model, so none is named. What is native is an object of settings."""
    asked, upload = read_request(payload, target, _NATIVE, "somark")
    fields: dict[str, Any] = {"output_formats": "markdown"}
    put_same(fields, asked, _NATIVE)
    if any(not isinstance(fields.get(name, {}), dict) for name in _NATIVE):
        raise bad("element_formats and feature_config are objects.")
    file = ("file", upload.content, upload.filename, upload.media_type)
    return form_request(target.url_for(Operation.OCR, PATH), fields, file)


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    if data.get("code") != 0:
        raise in_body(body) if "code" in data else unexpected("The answer holds no result.", headers, body)
    result = record(data, "data") or {}
    outputs = record(record(result, "result"), "outputs") or {}
    pages = tokens(record(result, "metadata"), "page_num")
    return Document(
        read_pages([outputs.get("markdown")], headers, body),
        usage=None if pages is None else {"pages_processed": pages},
        model=text(result, "model"),
    )
