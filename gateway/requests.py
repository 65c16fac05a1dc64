"""What a caller sent, as the payload of an operation. Only what the gateway needs is looked at; the rest passes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import orjson
from django.conf import settings
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from gateway import errors
from gateway.asgi import Receive, read_body
from providers.wire import Operation

Headers = Iterable[tuple[bytes, bytes]]

MAX_MODEL_LENGTH = 255
_AS_IT_IS = (b"", b"identity")
_LONG_NUMBER = re.compile(rb"\d{19}")  # whole numbers beyond 64 bits, which the fast parser would round


async def read(operation: Operation, headers: Headers, receive: Receive) -> dict[str, Any]:
    """The fields of a Call that the request says; raises GatewayError."""
    if any(name == b"content-encoding" and value.strip().lower() not in _AS_IT_IS for name, value in headers):
        raise errors.encoded_request()
    body = await read_body(receive, settings.GATEWAY_MAX_REQUEST_BYTES)
    if body is None:
        raise errors.bad_request(
            f"The request is larger than {settings.GATEWAY_MAX_REQUEST_BYTES:,} bytes.", status=413
        )
    payload = _form(headers, body) if operation is Operation.TRANSCRIPTION else _object(body)
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise errors.bad_request("You must provide a model parameter.", param="model")
    if len(model) > MAX_MODEL_LENGTH:
        raise errors.unknown_model(model)
    stream = payload.get("stream", False)
    if stream is None:
        stream = False
    if not isinstance(stream, bool):
        raise errors.bad_request("stream must be true or false.", param="stream")
    if stream and operation is not Operation.CHAT:
        raise errors.bad_request("Only chats can be streamed here; leave stream out.", param="stream")
    return {
        "operation": operation,
        "payload": payload,
        "model": model,
        "stream": stream,
        "size_bytes": len(body),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body) if _LONG_NUMBER.search(body) else orjson.loads(body)
    except (ValueError, RecursionError):
        raise errors.bad_request("The request's body is not valid JSON.") from None
    if not isinstance(payload, dict):
        raise errors.bad_request("The request's body must be a JSON object.")
    return payload


class _InMemory(FileUploadHandler):
    """Keeps uploads as bytes: the whole request is in memory already, and limited."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.parts: list[bytes] = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.parts.append(raw_data)

    def file_complete(self, file_size: int) -> Any:
        return {"data": b"".join(self.parts), "name": self.file_name, "type": self.content_type}


def _form(headers: Headers, body: bytes) -> dict[str, Any]:
    kind = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    if not kind.startswith("multipart/form-data"):
        raise errors.bad_request("Send the audio as multipart/form-data.", param="file")
    meta = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, BytesIO(body), [_InMemory()]).parse()
    except (MultiPartParserError, ValueError):
        raise errors.bad_request("The request's form cannot be read.") from None
    payload: dict[str, Any] = {}
    for name in fields:
        values = fields.getlist(name)
        payload[name] = values if name.endswith("[]") or len(values) > 1 else values[0]
    if str(payload.pop("stream", "false")).lower() in ("true", "1"):
        payload["stream"] = True
    file = files.get("file")
    if not file or not file["data"]:
        raise errors.bad_request("You must provide a file.", param="file")
    payload |= {"file": file["data"], "filename": file["name"] or "audio.wav"}
    if file["type"]:
        payload["media_type"] = file["type"]
    return payload
