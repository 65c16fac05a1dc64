"""What a caller sent, as the payload of an operation. Only what the gateway needs is looked at; the rest passes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NoReturn

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from gateway import errors
from gateway.asgi import Receive, read_body
from providers.wire import Operation

Headers = Iterable[tuple[bytes, bytes]]

MAX_MODEL_LENGTH = 255
STREAMED = frozenset({Operation.CHAT, Operation.SPEECH, Operation.TRANSCRIPTION})  # sound always is
_AS_IT_IS = (b"", b"identity")
# Whole numbers beyond 64 bits have so many digits, and the fast parser would round them. To look for them so takes
# a thirtieth of what a regular expression does, which of a long prompt is milliseconds.
_DIGITS, _LONG_NUMBER = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19


async def read(operation: Operation, headers: Headers, receive: Receive) -> dict[str, Any]:
    """The fields of a Call that the request says; raises GatewayError."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in _AS_IT_IS:
            raise errors.encoded_request()
    limit_bytes = settings.GATEWAY_MAX_REQUEST_BYTES
    body = await read_body(receive, limit_bytes)
    if body is None:
        raise errors.bad_request(f"The request is larger than {limit_bytes:,} bytes.", status=413)
    payload = _form(headers, body) if operation is Operation.TRANSCRIPTION else _object(body)
    model = payload.get("model")
    if not model and operation is Operation.CHAT and (model is None or model == ""):
        model = ""  # another may stand in for it
    elif not isinstance(model, str) or not model:
        raise errors.no_model()
    if len(model) > MAX_MODEL_LENGTH:
        raise errors.unknown_model(model)
    if operation is Operation.OCR and not isinstance(payload.get("document"), dict):
        raise errors.bad_request("You must provide a document: an object with a type and a URL.", param="document")
    stream = payload.get("stream", False)
    if stream is None:
        stream = False
    if not isinstance(stream, bool):
        raise errors.bad_request("stream must be true or false.", param="stream")
    if stream and operation not in STREAMED:
        raise errors.bad_request("Only chats and audio can be streamed here; leave stream out.", param="stream")
    return {
        "operation": operation,
        "payload": payload,
        "model": model,
        "stream": stream or operation is Operation.SPEECH,
        "size_bytes": len(body),
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        if _LONG_NUMBER in body.translate(_DIGITS):
            payload = json.loads(body, parse_constant=_no_number)
            json.dumps(payload, ensure_ascii=False).encode()  # half a surrogate pair is no text
        else:
            payload = orjson.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.bad_json(body, _strictly(body) or error) from None
    if not isinstance(payload, dict):
        raise errors.bad_request("The request's body must be a JSON object.")
    return payload


def _strictly(body: bytes) -> Exception | None:
    """What is wrong with it by the letter of JSON, and where."""
    try:
        orjson.loads(body)
    except ValueError as error:
        return error
    return None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON.")


@dataclass(frozen=True, slots=True)
class _Upload:
    data: bytes
    name: str | None
    media_type: str | None

    def close(self) -> None:
        """For the parser, which closes what it has when it meets an error."""


class _InMemory(FileUploadHandler):
    """Keeps uploads as bytes: the whole request is in memory already, and limited."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.parts: list[bytes] = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.parts.append(raw_data)

    def file_complete(self, file_size: int) -> Any:
        return _Upload(b"".join(self.parts), self.file_name, self.content_type)


def _form(headers: Headers, body: bytes) -> dict[str, Any]:
    kind = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    if not kind.startswith("multipart/form-data"):
        raise errors.bad_request("Send the audio as multipart/form-data.", param="file")
    meta = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))}
    try:
        fields, files = MultiPartParser(meta, BytesIO(body), [_InMemory()]).parse()
    except RequestDataTooBig:
        raise errors.bad_request("The fields of the request's form are too large.", status=413) from None
    except SuspiciousOperation:
        raise errors.bad_request("The request's form has too many parts.") from None
    except (MultiPartParserError, ValueError):
        raise errors.bad_request("The request's form cannot be read.") from None
    payload: dict[str, Any] = {}
    for name in fields:
        values = fields.getlist(name)
        payload[name] = values if name.endswith("[]") or len(values) > 1 else values[0]
    if str(payload.pop("stream", "false")).lower() in ("true", "1"):
        payload["stream"] = True
    file = files.get("file")
    if file is None or not file.data:
        raise errors.bad_request("You must provide a file.", param="file")
    payload |= {"file": file.data, "filename": file.name or "audio.wav"}
    if file.media_type:
        payload["media_type"] = file.media_type
    return payload
