"""OCR: a file is uploaded, its Markdown comes back as one text.

Source: https://github.com/opendatalab/MinerU (mineru-api, POST /file_parse)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.origins import origin_of
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import record, text
from providers.dialects.documents import read_pages, read_request
from providers.dialects.failures import classify_body
from providers.dialects.multipart import form_request
from providers.dialects.vocabulary import bad, put, put_same
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

PATH = "/file_parse"
_NATIVE = (
    *("lang_list", "backend", "parse_method", "formula_enable", "table_enable"),
    *("start_page_id", "end_page_id"),
)
_CLIENT = "http-client"  # only a backend of this kind is told where the model runs


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """The backend is the credential's, unless the request names another.

    Where its model runs, the credential alone says: else a request could have the server call any address in its reach.
    """
    asked, upload = read_request(payload, target, _NATIVE, "mineru")
    url = target.url_for(Operation.OCR, PATH)
    settings = target.credential.settings(origin=origin_of(url))
    fields: dict[str, Any] = {"return_md": True}
    put(fields, backend=settings.get("mineru_backend"), server_url=settings.get("mineru_server_url"))
    put_same(fields, asked, _NATIVE)
    if any(isinstance(value, list | dict) for value in fields.values()):
        raise bad("A parameter is not one value.")
    if not str(fields.get("backend", "")).endswith(_CLIENT):
        fields.pop("server_url", None)
    return form_request(url, fields, ("files", upload.content, upload.filename, upload.media_type))


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    results = record(data, "results")
    if not results:
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer holds no result.", headers, body)
    found = (result.get("md_content") if isinstance(result, dict) else None for result in results.values())
    return Document(read_pages(found, headers, body), model=text(data, "backend"))
