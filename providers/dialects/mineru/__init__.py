"""MinerU's own API server: a file is uploaded, its Markdown comes back as one text.

Source: https://github.com/opendatalab/MinerU (mineru-api, POST /file_parse)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.origins import origin_of
from providers.dialects.base import Dialect, StreamDecoder
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.documents import FIELDS, read_upload
from providers.dialects.failures import classify_body
from providers.dialects.multipart import form_request
from providers.dialects.openai import errors
from providers.dialects.vocabulary import bad, put, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Document, Operation, Reply, UpstreamRequest

PATH = "/file_parse"
_NATIVE = (
    *("lang_list", "backend", "parse_method", "formula_enable", "table_enable", "server_url"),
    *("start_page_id", "end_page_id"),
)
_CLIENT = "http-client"  # only a backend of this kind is told where the model runs


class MinerU:
    name = "mineru"
    operations = frozenset({Operation.OCR})

    def build(self, operation: Operation, payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
        """The backend is the credential's, unless the request names another."""
        self._check(operation)
        asked = target.quirks.apply_params(Operation.OCR, payload)
        refuse_others(asked, {*FIELDS, *_NATIVE}, self.name)
        upload = read_upload(asked)
        url = target.url_for(Operation.OCR, PATH)
        settings = target.credential.settings(origin=origin_of(url))
        fields: dict[str, Any] = {"return_md": True}
        put(
            fields, backend=settings.get("mineru_backend") or None, server_url=settings.get("mineru_server_url") or None
        )
        put(fields, **{name: asked.get(name) for name in _NATIVE})
        if any(isinstance(value, list | dict) for value in fields.values()):
            raise bad("A parameter is not one value.")
        if not str(fields.get("backend", "")).endswith(_CLIENT):
            fields.pop("server_url", None)
        return form_request(url, fields, ("files", upload.content, upload.filename, upload.media_type))

    def parse(self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        self._check(operation)
        errors.raise_for(status, headers, body)
        data = load_object(headers, body)
        results = data.get("results")
        if not isinstance(results, dict) or not results:
            if data.get("error"):
                raise classify_body(200, body)
            raise unexpected("The answer holds no result.", headers, body)
        texts = [text for found in results.values() if (text := _markdown(found)) is not None]
        if len(texts) != len(results):
            raise unexpected("A result of the answer has no Markdown.", headers, body)
        backend = data.get("backend")
        return Document(texts, model=backend if isinstance(backend, str) else "")

    def decoder(self, operation: Operation) -> StreamDecoder:
        raise Unsupported(f"The wire format “{self.name}” does not stream {operation}.", step="build")

    def _check(self, operation: Operation) -> None:
        if operation not in self.operations:
            raise Unsupported(f"The wire format “{self.name}” has no call for {operation}.", step="build")


def _markdown(found: Any) -> str | None:
    text = found.get("md_content") if isinstance(found, dict) else None
    return text if isinstance(text, str) else None


DIALECT: Dialect = MinerU()
