"""Cortex as its source was when it was archived. A download ends after `looks` looks at the list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class FakeCortex(FakeRuntime):
    looks: int = 1
    downloaded: list[str] = field(default_factory=lambda: ["tinyllama:1b"])
    downloading: dict[str, int] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)

    def routes(self) -> None:
        self.route("GET", "/healthz", self.healthz)
        self.route("GET", "/v1/models", self.models)
        self.route("POST", "/v1/models/pull", self.pull)
        self.route("DELETE", "/v1/models/pull", self.abort)
        self.route("POST", "/v1/models/import", self.take)
        self.route("POST", "/v1/models/start", self.start)
        self.route("POST", "/v1/models/stop", self.stop)
        self.route("GET", "/v1/models/status/", self.status)
        self.route("GET", "/inferences/server/models", self.loaded)
        self.route("DELETE", "/v1/models/", self.delete)

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="OK", content_type="text/html")

    async def models(self, request: web.Request) -> web.StreamResponse:
        for name in list(self.downloading):
            self.downloading[name] -= 1
            if self.downloading[name] < 0:
                del self.downloading[name]
                self.downloaded.append(name)
        data: list[dict[str, Any]] = [
            {"id": "llama3.2:3b", "model": "llama3.2:3b", "modelSource": "cortexso/llama3.2", "status": "downloadable"},
            {"id": "gpt-4o", "model": "gpt-4o", "engine": "openai", "status": "remote"},
        ]
        data = [entry for entry in data if entry["id"] not in self.downloaded]
        for name in self.downloaded:
            data.append(
                {
                    "id": name,
                    "model": name,
                    "name": "Tiny",
                    "status": "downloaded",
                    "engine": "llama-cpp",
                    "ctx_len": 4096,
                    "size": 6.2e05,  # numbers that are not whole are written with two digits
                    "files": [f"/cortexcpp/models/{name}/model.gguf"],
                    "object": "",
                    "owned_by": "",
                }
            )
        return web.json_response({"object": "list", "data": data, "result": "OK"})

    async def pull(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        if name.startswith("nothing"):
            return web.json_response({"message": "Invalid model handle or not supported!"}, status=400)
        self.downloading[name] = self.looks
        item = {"id": "model.gguf", "downloadUrl": "https://h/model.gguf", "bytes": 1000, "downloadedBytes": 0}
        task = {"id": name, "type": "Model", "items": [item]}
        return web.json_response({"message": "Model start downloading!", "task": task})

    async def abort(self, request: web.Request) -> web.StreamResponse:
        task = (await request.json())["taskId"]
        if self.downloading.pop(task, None) is None:
            return web.json_response({"message": "Task not found"}, status=400)
        return web.json_response({"message": "Download stopped successfully", "taskId": task})

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] in self.downloaded:
            message = f"Fail to import model, model_id '{body['model']}' already exists!"
            return web.json_response({"result": "Import failed!", "message": message}, status=400)
        self.downloaded.append(body["model"])
        return web.json_response({"result": "OK", "modelHandle": body["model"]})

    async def start(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        if name not in self.downloaded:
            return web.json_response({"message": f"Cannot find model: {name}"}, status=400)
        self.running.append(name)
        return web.json_response({"message": "Started successfully!"})

    async def stop(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        if name in self.running:
            self.running.remove(name)
        return web.json_response({"message": "Stopped successfully!"})

    async def status(self, request: web.Request) -> web.StreamResponse:
        if _last(request) in self.running:
            return web.json_response({"message": "Model is running"})
        return web.json_response({"message": "Model is not running"}, status=400)

    async def loaded(self, request: web.Request) -> web.StreamResponse:
        data = [{"id": name, "object": "model", "ram": 1, "vram": 0, "start_time": 1} for name in self.running]
        return web.json_response({"object": "list", "data": data})

    async def delete(self, request: web.Request) -> web.StreamResponse:
        name = _last(request)
        if name not in self.downloaded:
            return web.json_response({"message": f"Model {name} not found"}, status=400)
        self.downloaded.remove(name)
        return web.json_response({"message": "Deleted successfully!"})


def _last(request: web.Request) -> str:
    return unquote(request.raw_path.rpartition("/")[2])
