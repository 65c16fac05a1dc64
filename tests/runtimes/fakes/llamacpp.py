"""llama.cpp's server as its source and the real one have it: a single model, or a router with a stream of events.

What the real one was seen to do and this one does, too: a model that is unknown is 404 without a reason; a repository
that does not exist ends in `download_finished`; a repository named without a quantization is listed with it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class Model:
    """`breaks`: it cannot be loaded. `of_cache`: it was downloaded and can be removed."""

    name: str
    value: str = "unloaded"
    of_cache: bool = False
    breaks: bool = False
    exit_code: int | None = None
    arguments: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("text",)


@dataclass
class FakeLlamaCpp(FakeRuntime):
    """`single`: no router. `has_events`: False for a build without the stream. `hub`: what can be downloaded."""

    single: bool = False
    loading: bool = False
    has_events: bool = True
    models: list[Model] = field(default_factory=lambda: [Model("tiny"), Model("broken", breaks=True)])
    hub: dict[str, int] = field(default_factory=lambda: {"me/tiny:Q4_K_M": 40_000})
    step_s: float = 0.01
    load_s: float = 0.02
    cuts_events: int = 0  # after so many of them the stream breaks, once
    fails_download: bool = False

    def __post_init__(self) -> None:
        self._listeners: list[asyncio.Queue[dict[str, Any] | None]] = []
        self._downloads: dict[str, asyncio.Task[None]] = {}
        super().__post_init__()

    def routes(self) -> None:
        self.route("GET", "/health", self._health)
        self.route("GET", "/props", self._props)
        self.route("GET", "/v1/models", self._list)
        self.route("GET", "/models", self._list)
        if not self.single:
            self.route("GET", "/models/sse", self._sse)
            self.route("POST", "/models", self._download)
            self.route("DELETE", "/models", self._delete)
            self.route("POST", "/models/load", self._load)
            self.route("POST", "/models/unload", self._unload)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return _error(404, "not_found_error", "File Not Found")

    def find(self, name: str) -> Model | None:
        return next((one for one in self.models if one.name == name), None)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return _error(503, "unavailable_error", "Loading model") if self.loading else _json({"status": "ok"})

    async def _props(self, request: web.Request) -> web.StreamResponse:
        if not self.single:
            return _json({"role": "router", "max_instances": 4, "models_autoload": True, "build_info": "b9000-abc"})
        return _json(
            {
                "total_slots": 1,
                "model_alias": "tiny",
                "model_path": "/models/tiny.gguf",
                "modalities": {"vision": True, "audio": False},
                "chat_template_caps": {"supports_tools": True},
                "build_info": "b9000-abc",
            }
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return _json({"object": "list", "data": [self._entry(one) for one in self.models]})

    def _entry(self, one: Model) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": one.name, "aliases": [], "tags": [], "object": "model", "owned_by": "llamacpp"}
        entry |= {"created": 1795265438, "architecture": {"input_modalities": list(one.inputs)}}
        meta = {"n_ctx": 512, "n_ctx_train": 2048, "n_embd": 64, "n_params": 114_432, "size": 457_728, "ftype": "Q8_0"}
        if self.single:
            return {**entry, "meta": meta}
        arguments = ["/usr/bin/llama-server", "--model", f"/models/{one.name}.gguf", *one.arguments]
        status: dict[str, Any] = {"value": one.value, "args": arguments, "preset": f"[{one.name}]\n"}
        if one.exit_code:
            status |= {"exit_code": one.exit_code, "failed": True}
        entry |= {"status": status, "source": "cache" if one.of_cache else "models_dir", "can_remove": one.of_cache}
        return {**entry, "meta": meta} if one.value == "loaded" else entry

    def tell(self, name: str, event: str, data: Any = None) -> None:
        told: dict[str, Any] = {"model": name, "event": event}
        for listener in self._listeners:
            listener.put_nowait(told if data is None else {**told, "data": data})

    async def _sse(self, request: web.Request) -> web.StreamResponse:
        if not self.has_events:
            return self.unknown(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        mine: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.append(mine)
        try:
            while (told := await mine.get()) is not None:
                await response.write(b"data: " + json.dumps(told, separators=(",", ":")).encode() + b"\n\n")
                if self.cuts_events:
                    self.cuts_events -= 1
                    if not self.cuts_events:
                        assert request.transport is not None
                        request.transport.abort()
                        raise ConnectionResetError
        finally:
            self._listeners.remove(mine)
        return response

    async def _load(self, request: web.Request) -> web.StreamResponse:
        one = self.find((await request.json())["model"])
        if one is None:
            return self.unknown(request)
        if one.value in ("loading", "loaded", "sleeping"):
            return _error(400, "invalid_request_error", "model is already running")
        one.value, one.exit_code = "loading", None
        self.tell(one.name, "model_status", {"status": "loading"})
        self._downloads[one.name] = asyncio.create_task(self._loads(one))
        return _json({"success": True})

    async def _loads(self, one: Model) -> None:
        stages = ["text_model", "mmproj_model"]
        for current in stages:
            for value in (0.0, 0.5, 1.0):
                await asyncio.sleep(self.load_s)
                progress = {"stages": stages, "current": current, "value": value}
                self.tell(one.name, "status_change", {"status": "loading", "progress": progress})
        if one.breaks:
            one.value, one.exit_code = "unloaded", 1
            self.tell(one.name, "status_change", {"status": "unloaded", "exit_code": 1})
        else:
            one.value = "loaded"
            self.tell(one.name, "status_change", {"status": "loaded", "info": {"id": one.name}})

    async def _unload(self, request: web.Request) -> web.StreamResponse:
        one = self.find((await request.json())["model"])
        if one is None:
            return _error(400, "invalid_request_error", "model is not found")
        if one.value not in ("loading", "loaded", "sleeping", "downloading"):
            return _error(400, "invalid_request_error", "model is not running")
        if task := self._downloads.pop(one.name, None):
            task.cancel()
        if one.value == "downloading":
            self.models.remove(one)
            self.tell(one.name, "download_failed")
        else:
            one.value = "unloaded"
            self.tell(one.name, "status_change", {"status": "unloaded", "exit_code": 0})
        return _json({"success": True})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        if name.partition(":")[0].count("/") != 1:
            said = "error: invalid HF repo format, expected <user>/<model>[:quant]\n"
            return _error(400, "invalid_request_error", said)
        if self.find(name) is not None:
            return _error(400, "invalid_request_error", f"model '{name}' already exists")
        self.begin(name)
        return _json({"success": True})

    def begin(self, name: str) -> None:
        """Download it, on the runtime's loop."""
        one = Model(name, value="downloading", of_cache=True)
        self.models.append(one)
        self.tell(name, "model_status", {"status": "downloading"})
        self._downloads[name] = asyncio.get_running_loop().create_task(self._comes(one))

    async def _comes(self, one: Model) -> None:
        full = next((known for known in self.hub if known == one.name or known.startswith(f"{one.name}:")), None)
        parts = [] if full is None else [self.hub[full], self.hub[full] // 4]
        done = [0] * len(parts)
        while done != parts:
            for i, total in enumerate(parts):
                done[i] = min(done[i] + 9_000, total)
            await asyncio.sleep(self.step_s)
            urls = {
                f"https://hub/{one.name}-{i}.gguf": {"done": done[i], "total": total} for i, total in enumerate(parts)
            }
            self.tell(one.name, "download_progress", {"progress": urls})
            if self.fails_download:
                self.models.remove(one)
                self.tell(one.name, "download_failed")
                return
        self.models.remove(one)
        if full is not None:
            self.models.append(Model(full, of_cache=True))
        self.tell(one.name, "download_finished")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("model", "")
        one = self.find(name)
        if one is None:
            return _error(500, "server_error", f"model name={name} is not found")
        if not one.of_cache:
            return _error(500, "server_error", f"model name={name} is not removable (not from cache)")
        self.models.remove(one)
        self.tell(name, "model_remove")
        return _json({"success": True})


def _json(data: Any) -> web.Response:
    body = json.dumps(data, separators=(",", ":")).encode()
    return web.Response(body=body, headers={"Content-Type": "application/json; charset=utf-8", "Server": "llama.cpp"})


def _error(status: int, type: str, message: str) -> web.Response:
    body = json.dumps({"error": {"code": status, "message": message, "type": type}}).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json; charset=utf-8"})
