"""Reading documents: a PDF or a picture in, the Markdown of pages out.

It comes as bytes (`file`, `filename`, `media_type`), or in a data URL as Mistral has it (`document`).
Source: https://docs.mistral.ai/api/endpoint/ocr
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.dialects.base import require
from providers.dialects.bodies import unexpected
from providers.dialects.vocabulary import bad, data_url, refuse_others
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import Operation

FIELDS = frozenset({"file", "filename", "media_type", "document"})
PDF = "application/pdf"
_URL_SAFE = str.maketrans("-_", "+/")
_MAGIC = (
    (b"%PDF-", PDF),
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)


@dataclass(frozen=True, slots=True)
class Upload:
    content: bytes
    filename: str
    media_type: str

    @property
    def is_pdf(self) -> bool:
        return self.media_type == PDF

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()


def read_upload(payload: Mapping[str, Any]) -> Upload:
    """`file` is the document's bytes, `filename` and `media_type` describe it; raises BadRequest for anything else.

    A media type that is not given is found out from the first bytes. A `document` at an address is Unsupported:
    nothing is fetched here.
    """
    if payload.get("document") is not None:
        return _sent_along(payload["document"])
    require(payload, "file")
    content = payload["file"]
    if not isinstance(content, bytes | bytearray):
        raise bad("The document must be bytes.")
    kind = payload.get("media_type") or next((kind for magic, kind in _MAGIC if content.startswith(magic)), "")
    if not isinstance(kind, str) or not (kind == PDF or kind.startswith("image/")):
        raise bad("The document must be a PDF or a picture.")
    name = payload.get("filename") or ("document.pdf" if kind == PDF else f"picture.{kind.removeprefix('image/')}")
    if not isinstance(name, str):
        raise bad("The document's file name is not a text.")
    return Upload(bytes(content), name, kind)


def url_of(document: Any) -> tuple[str, str]:
    """Where a `document` of Mistral's shape is, and its name; raises BadRequest."""
    if isinstance(document, Mapping) and (kind := document.get("type")) in ("document_url", "image_url"):
        url, name = document.get(kind), document.get("document_name")
        if isinstance(url, Mapping):
            url = url.get("url")
        if isinstance(url, str) and url and isinstance(name, str | None):
            return url, name or ""
    raise bad("The document must be of type document_url or image_url, with its URL under that name.")


def _sent_along(document: Any) -> Upload:
    url, name = url_of(document)
    if (found := data_url(url)) is None:
        raise Unsupported(
            "This model reads documents that are sent along, not those at an address.",
            hint="Send it as a data URL: data:application/pdf;base64,…",
            step="build",
        )
    kind, text = found
    try:
        content = base64.b64decode(text.translate(_URL_SAFE))
    except ValueError:
        raise bad("The document's Base64 cannot be read.") from None
    return read_upload({"file": content, "media_type": kind, "filename": name})


def read_request(
    payload: Mapping[str, Any], target: Target, native: Collection[str], dialect: str
) -> tuple[dict[str, Any], Upload]:
    """What is asked for, and the document. `native` are the dialect's own parameters; any other is Unsupported."""
    asked = target.quirks.apply_params(Operation.OCR, payload)
    refuse_others(asked, {*FIELDS, *native}, dialect)
    return asked, read_upload(asked)


def read_pages(found: Iterable[Any], headers: Mapping[str, str], body: bytes) -> list[str]:
    """The Markdown of every page; raises BadReply if what was found for one is no text."""
    pages = list(found)
    texts = [page for page in pages if isinstance(page, str)]
    if len(texts) != len(pages):
        raise unexpected("A page of the answer has no Markdown.", headers, body)
    return texts
