"""The gateway's HTTP door: a plain ASGI application that answers its own paths under /v1.

GET  /v1/models, /v1/models/{id}    the models that the token can call now (HEAD: without the body)
POST /v1/chat/completions           a chat, whole or streamed
POST /v1/embeddings, /v1/rerank     vectors of texts; texts in the order of their relevance
POST /v1/audio/speech               a text as sound
POST /v1/audio/transcriptions       sound as a text (a multipart upload)
POST /v1/ocr                        a PDF or a picture as Markdown, page by page (as Mistral has it)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import psycopg
import structlog
from django.db import DatabaseError, InterfaceError

from core.http import request_id
from core.ids import new_id
from core.ticker import Ticker
from gateway import errors, parts, requests
from gateway.asgi import ClientGone, Receive, Scope, Send, send_empty, send_json, send_whole, without_body
from gateway.auth import authenticate, require_any
from gateway.call import Call
from gateway.errors import GatewayError
from gateway.pipeline import Engine
from gateway.resolve import suggested
from gateway.snapshot import Caller, Model, TenantSnapshot
from gateway.store import SnapshotStore
from gateway.streams import WhileThere, send_stream
from providers.wire import Operation

logger = structlog.get_logger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

ROOT = "/v1"
CALL_METHODS, LIST_METHODS = "POST, OPTIONS", "GET, HEAD, OPTIONS"
MODELS = "/v1/models"
CALLS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/embeddings": Operation.EMBEDDINGS,
    "/v1/rerank": Operation.RERANK,
    "/v1/audio/speech": Operation.SPEECH,
    "/v1/audio/transcriptions": Operation.TRANSCRIPTION,
    "/v1/ocr": Operation.OCR,
}


class Gateway:
    """One a process. `start` and `close` belong to the server's lifespan; without one it starts with the first call."""

    def __init__(self, store: SnapshotStore | None = None, engine: Engine | None = None) -> None:
        self.store = store or SnapshotStore()
        self._engine = engine
        self._ticker: Ticker | None = None

    async def start(self) -> None:
        """Begin to watch for changes, and to carry what was metered to the ledger."""
        await self.store.start()
        if self._engine is None:
            self._engine = await asyncio.to_thread(parts.engine)

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()
        await self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        if scope["method"] == "HEAD":
            send = without_body(send)
        given = ""
        for header, value in headers:
            if header == b"x-request-id":
                given = value.decode("latin-1")
                break
        name = request_id(given)
        structlog.contextvars.bind_contextvars(request_id=name)  # of the request's own task: nobody has to undo it
        try:
            await self._answer(scope, receive, send, headers, name, name if name != given else new_id())
        except ClientGone:
            pass
        except GatewayError as error:
            await _send_error(send, error, name)
        except (DatabaseError, InterfaceError, psycopg.Error):  # the last from the pool, when it has none to give
            logger.exception("gateway.database_unavailable")
            await _send_error(send, errors.unavailable(), name)
        except Exception:
            logger.exception("gateway.failed")
            await _send_error(send, errors.internal(), name)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, name: str, own_id: str
    ) -> None:
        """`name` is what the caller calls its request; `own_id` was made here, and is nobody else's."""
        path, method = scope["path"], scope["method"]
        operation = CALLS.get(path) or CALLS.get(path.rstrip("/"))
        if operation is not None:
            if method != "POST":
                await _other(method, path, CALL_METHODS, send, name)
                return
            caller, tenant = await authenticate(self.store, headers)
            require_any(caller, "invoke")
            asked = await requests.read(operation, headers, receive)
            call = Call(caller=caller, tenant=tenant, request_id=name, id=own_id, **asked)
            await self._call(call, receive, send)
            return
        path = path.rstrip("/")
        if path != MODELS and not path.startswith(MODELS + "/"):
            raise errors.unknown_path(method, path, (*CALLS, MODELS))
        if method not in ("GET", "HEAD"):
            await _other(method, path, LIST_METHODS, send, name)
            return
        caller, tenant = await authenticate(self.store, headers)
        require_any(caller, "invoke", "read")
        await send_json(send, 200, _models(path, caller, tenant), {"x-request-id": name})

    async def _call(self, call: Call, receive: Receive, send: Send) -> None:
        if self._engine is None:
            await self.start()
        engine = cast(Engine, self._engine)
        if call.stream:
            await send_stream(engine, call, receive, send)
            return
        if self._ticker is None:
            self._ticker = Ticker.running()
        with WhileThere(receive, self._ticker):
            done = await engine.complete(call)
            await send_whole(send, 200, done.body, done.media_type, {"x-request-id": call.request_id, **done.headers})


async def _other(method: str, path: str, allowed: str, send: Send, name: str) -> None:
    """OPTIONS says what is possible, without a token; anything else is not."""
    if method != "OPTIONS":
        raise errors.wrong_method(method, path, allowed)
    await send_empty(send, 204, {"allow": allowed, "x-request-id": name})


async def _send_error(send: Send, error: GatewayError, name: str) -> None:
    await send_json(send, error.status, error.as_data(), {"x-request-id": name, **error.headers})


def _models(path: str, caller: Caller, tenant: TenantSnapshot) -> Any:
    if path == MODELS:
        usable = [_as_data(model) for model in tenant.models.values() if caller.may_use(model.id)]
        return {"object": "list", "data": usable}
    wanted = path.removeprefix(MODELS + "/")
    model = tenant.models.get(wanted)
    if model is None or not caller.may_use(model.id):
        raise errors.unknown_model(wanted, suggested(tenant, caller, wanted))
    return _as_data(model)


def _as_data(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}
