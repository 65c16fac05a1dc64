"""The gateway's HTTP door: a plain ASGI application that answers its own paths under /v1.

GET /v1/models        the models that the token's tenant can call now
GET /v1/models/{id}   one of them
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson
import psycopg
import structlog
from django.db import DatabaseError, InterfaceError

from core.http import request_id
from gateway import errors
from gateway.auth import authenticate, require_any
from gateway.errors import GatewayError
from gateway.snapshot import Model
from gateway.store import SnapshotStore

logger = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

ROOT = "/v1"
MODELS = "/v1/models"


class Gateway:
    """One a process. `start` and `close` belong to the server's lifespan; without one it starts with the first call."""

    def __init__(self, store: SnapshotStore | None = None) -> None:
        self.store = store or SnapshotStore()

    async def start(self) -> None:
        await self.store.start()

    async def close(self) -> None:
        await self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = list(scope["headers"])
        given = next((value for name, value in headers if name.lower() == b"x-request-id"), b"")
        name = request_id(given.decode("latin-1"))
        with structlog.contextvars.bound_contextvars(request_id=name):
            extra: dict[str, str] = {"x-request-id": name}
            try:
                status, data = 200, await self._answer(scope["method"], scope["path"], headers)
            except GatewayError as error:
                status, data = error.status, error.as_data()
                extra |= error.headers
            except (DatabaseError, InterfaceError, psycopg.Error):  # the last from the pool, when it has none to give
                logger.exception("gateway.database_unavailable")
                status, data = 503, errors.unavailable().as_data()
            except Exception:
                logger.exception("gateway.failed")
                status, data = 500, errors.internal().as_data()
            await _send_json(send, status, data, extra)

    async def _answer(self, method: str, path: str, headers: Headers) -> Any:
        path = path.rstrip("/")
        if path != MODELS and not path.startswith(MODELS + "/"):
            raise errors.unknown_path(method, path)
        if method != "GET":
            raise errors.wrong_method(method, path, "GET")
        caller, tenant = await authenticate(self.store, headers)
        require_any(caller, "invoke", "read")
        if path == MODELS:
            return {"object": "list", "data": [_as_data(model) for model in tenant.models.values()]}
        wanted = path.removeprefix(MODELS + "/")
        model = tenant.models.get(wanted)
        if model is None:
            raise errors.unknown_model(wanted)
        return _as_data(model)


def _as_data(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}


async def _send_json(send: Send, status: int, data: Any, headers: dict[str, str]) -> None:
    body = orjson.dumps(data)
    sent = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "no-store",
        **headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
