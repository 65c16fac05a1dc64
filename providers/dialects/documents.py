"""Reading documents: a PDF or a picture in, as bytes with a name and a media type; the Markdown of pages out."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from providers.dialects.base import require
from providers.dialects.bodies import unexpected
from providers.dialects.vocabulary import bad, refuse_others
from providers.target import Target
from providers.wire import Operation

FIELDS = frozenset({"file", "filename", "media_type"})
PDF = "application/pdf"
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

    A media type that is not given is found out from the first bytes.
    """
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
