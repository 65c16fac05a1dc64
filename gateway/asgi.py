"""The few messages of ASGI that are used here. Source: https://asgi.readthedocs.io/en/latest/specs/www.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The caller hung up while it was still sending."""


async def read_body(receive: Receive, limit_bytes: int) -> bytes | None:
    """The whole body; None if it is larger than the limit. Raises ClientGone."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ClientGone
    if not message.get("more_body"):
        return body if len(body) <= limit_bytes else None
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit_bytes:
            return None
    return b"".join(parts)


async def begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def send_whole(send: Send, status: int, body: bytes, media_type: str, headers: Mapping[str, str]) -> None:
    """A whole answer."""
    sent = {
        "content-type": media_type,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **headers,
    }
    await begin(send, status, sent)
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, data: Any, headers: Mapping[str, str]) -> None:
    await send_whole(send, status, orjson.dumps(data), "application/json", headers)


async def send_empty(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """An answer that has no body, such as 204."""
    await begin(send, status, headers)
    await send({"type": "http.response.body", "body": b""})


def without_body(send: Send) -> Send:
    """For HEAD: the headers of the answer, its length among them, and nothing else. Source: RFC 9110, section 9.3.2"""

    async def sent(message: MutableMapping[str, Any]) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sent
