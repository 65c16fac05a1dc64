"""What an ASGI server runs: the gateway's own paths go to the gateway, all others to Django."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmadmin.settings")

from django.core.asgi import get_asgi_application

_django: Any = get_asgi_application()  # sets Django up: what follows imports models

from gateway import published  # noqa: E402
from gateway.app import ROOT, Gateway  # noqa: E402
from gateway.asgi import Receive, Scope, Send, send_whole  # noqa: E402
from llmadmin import metrics  # noqa: E402

# Below /v1, but views of the control plane.
DJANGO_OWNS = frozenset({"llm", "user", "langfuse"})

# A call leaves hundreds of objects behind, nearly all freed at once without the collector: it need not look so often.
GC_THRESHOLDS = (20_000, 20, 50)

MAX_FORM_BYTES = 20 * 1024**2  # the largest file that a form of Django's takes has 16 MiB
_TOO_LARGE = f"The request is larger than {MAX_FORM_BYTES:,} bytes.\n".encode()

_gateway = Gateway()


def gateway_owns(path: str) -> bool:
    """Whether a path is the gateway's to answer."""
    root, _, rest = path.removeprefix("/").partition("/")
    return f"/{root}" == ROOT and rest.partition("/")[0] not in DJANGO_OWNS


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await _live(receive, send)
        case "http" if gateway_owns(scope["path"]):
            await _gateway(scope, receive, send)
        case "http" if scope["path"] == metrics.PATH:
            await metrics.answer(scope, receive, send)
        case "http":
            await _django(scope, bounded(receive, send), send)
        case _:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1000})


def bounded(receive: Receive, send: Send) -> Receive:
    """Django reads a request's whole body to disk before it asks who sends it: one that is too large ends in 413."""
    left_bytes = MAX_FORM_BYTES

    async def received() -> Any:
        nonlocal left_bytes
        message = await receive()
        left_bytes -= len(message.get("body", b""))
        if left_bytes >= 0:
            return message
        await send_whole(send, 413, _TOO_LARGE, "text/plain; charset=utf-8", {"connection": "close"})
        return {"type": "http.disconnect"}

    return received


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await _gateway.start()
            gc.collect()
            gc.set_threshold(*GC_THRESHOLDS)
            gc.freeze()  # what was imported stays for good: it need not be looked through again and again
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await _gateway.close()
            await asyncio.to_thread(published.stop)  # the server may end this process by a signal: nothing at exit runs
            await send({"type": "lifespan.shutdown.complete"})
            return
