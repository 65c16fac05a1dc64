"""Uploads: form fields and one file as multipart/form-data. Source: https://www.rfc-editor.org/rfc/rfc7578"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from providers.dialects.base import USER_AGENT
from providers.errors import BadRequest
from providers.wire import UpstreamRequest


def form_request(
    url: str, fields: Mapping[str, Any], file: tuple[str, bytes, str, str], *, accept: str = "application/json"
) -> UpstreamRequest:
    """A POST of the fields and of a file: its field's name, content, file name and media type."""
    boundary, body = _multipart(fields, *file)
    content_type = f"multipart/form-data; boundary={boundary}"
    headers = {"Content-Type": content_type, "Accept": accept, "User-Agent": USER_AGENT}
    return UpstreamRequest("POST", url, headers, body)


def _multipart(fields: Mapping[str, Any], field: str, content: bytes, filename: str, kind: str) -> tuple[str, bytes]:
    """The body and its boundary, which is taken from the content so that equal uploads are equal bytes."""
    if not re.fullmatch(r"[\w.+\-]{1,64}/[\w.+\-]{1,64}", kind, re.A):
        raise BadRequest("The file's media type is malformed.", step="build")
    pairs = [(name, text) for name, value in fields.items() for name, text in _texts(name, value)]
    digest = hashlib.sha256(content)
    for pair in pairs:
        digest.update("\0".join(pair).encode("utf-8", "surrogatepass"))
    boundary = f"llmadmin-{digest.hexdigest()[:32]}"
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    head = "".join(f'{start}"{_quoted(name)}"\r\n\r\n{text}\r\n' for name, text in pairs)
    head += f'{start}"{_quoted(field)}"; filename="{_quoted(filename)}"\r\nContent-Type: {kind}\r\n\r\n'
    try:
        return boundary, head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    except UnicodeEncodeError:
        raise BadRequest("A form field is not valid text.", step="build") from None


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(f"{name}[]", item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, dict):
        try:
            yield name, orjson.dumps(value).decode()
        except TypeError:
            raise BadRequest("The request holds something that JSON cannot carry.", step="build") from None
    elif value is not None:
        yield name, str(value)


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
