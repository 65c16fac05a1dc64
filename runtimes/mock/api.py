"""The paths of the mock runtime: OpenAI's below /v1, and below /api its own to manage models.

    GET    /api/version           {"version"}
    GET    /api/models            {"models": [a model, …]}; one of them: /api/models/NAME
    DELETE /api/models/NAME
    POST   /api/install, /api/update   {"model", "steps", "step_delay_s"}: a line for each step of the download
    POST   /api/cancel            {"model"}: ends a download in whatever process it runs; what came is kept
    POST   /api/import            {"model", "path"}
    POST   /api/load              {"model", "steps", "step_delay_s"}: a line for each step
    POST   /api/unload            {"model"}

Lines are JSON objects: {"status", "completed", "total"} in bytes, or {"status", "progress"} of 1; the last one has the
status "success", or "error" with a message. Errors before the first line have a status of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from providers.dialects.bodies import loads
from providers.inprocess import InProcessAnswer
from providers.wire import UpstreamRequest
from runtimes.mock import inference, management, names
from runtimes.mock.replies import Refused, json_answer
from runtimes.mock.store import Store

VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, taken apart. `name` is what follows a path that ends in a slash."""

    store: Store
    body: Mapping[str, Any]
    name: str = ""


def store() -> Store:
    """The one of this installation."""
    return Store(Path(settings.DATA_DIR) / "mock-runtime")


async def handle(request: UpstreamRequest) -> InProcessAnswer:
    path = urlsplit(request.url).path.rstrip("/") or "/"
    try:
        answer, name = _route(request.method, path)
        return await answer(Call(store(), _body(request.body), name))
    except Refused as refused:
        return refused.answer


Answering = Callable[[Call], Awaitable[InProcessAnswer]]


async def _version(call: Call) -> InProcessAnswer:
    return json_answer({"version": VERSION, "name": "mock"})


async def _models(call: Call) -> InProcessAnswer:
    return json_answer({"models": management.listed(call.store)})


async def _model(call: Call) -> InProcessAnswer:
    found = next((one for one in management.listed(call.store) if one["name"] == call.name), None)
    if found is None:
        raise Refused.unknown(call.name)
    return json_answer(found)


async def _openai_models(call: Call) -> InProcessAnswer:
    present = [one for one in management.listed(call.store) if one["state"] != "downloading"]
    data = [{"id": one["name"], "object": "model", "created": 0, "owned_by": "mock"} for one in present]
    return json_answer({"object": "list", "data": data})


def _named(answer: Callable[[Store, str, Mapping[str, Any]], Awaitable[InProcessAnswer]]) -> Answering:
    """For calls whose model is in the path or in the body."""

    async def answering(call: Call) -> InProcessAnswer:
        name = call.name or call.body.get("model")
        if not isinstance(name, str) or not 0 < len(name) <= names.MAX_NAME:
            raise Refused(400, "model_missing", f"A “model” is needed, of at most {names.MAX_NAME} characters.")
        return await answer(call.store, name, call.body)

    return answering


_ROUTES: dict[tuple[str, str], Answering] = {
    ("GET", "/api/version"): _version,
    ("GET", "/api/models"): _models,
    ("GET", "/api/models/"): _model,
    ("DELETE", "/api/models/"): _named(management.delete),
    ("POST", "/api/install"): _named(management.install),
    ("POST", "/api/update"): _named(management.update),
    ("POST", "/api/cancel"): _named(management.cancel),
    ("POST", "/api/import"): _named(management.import_),
    ("POST", "/api/load"): _named(management.load),
    ("POST", "/api/unload"): _named(management.unload),
    ("GET", "/v1/models"): _openai_models,
    ("POST", "/v1/chat/completions"): _named(inference.chat),
    ("POST", "/v1/embeddings"): _named(inference.embeddings),
    ("POST", "/v1/rerank"): _named(inference.rerank),
}


def _route(method: str, path: str) -> tuple[Answering, str]:
    if (exact := _ROUTES.get((method, path))) is not None:
        return exact, ""
    root = "/api/models/"
    if path.startswith(root) and (below := _ROUTES.get((method, root))) is not None:
        return below, unquote(path[len(root) :])
    raise Refused(404, "not_found", f"There is no {method} {path} here.")


def _body(data: bytes | None) -> Mapping[str, Any]:
    if not data:
        return {}
    try:
        body = loads(data)
    except ValueError:
        raise Refused(400, "bad_json", "The body is not JSON, or is nested too deeply.") from None
    if not isinstance(body, dict):
        raise Refused(400, "bad_json", "The body is not a JSON object.")
    return body
