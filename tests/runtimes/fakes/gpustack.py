"""A GPUStack with its management below /v2. What is deployed runs after `looks` looks at its instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class FakeGPUStack(FakeRuntime):
    """`scope`: of the key. `per_page`: however much is asked for."""

    scope: str = "management"
    looks: int = 1
    per_page: int = 2
    failing: bool = False
    deployed: dict[int, dict[str, Any]] = field(default_factory=dict)
    looked: dict[int, int] = field(default_factory=dict)

    def routes(self) -> None:
        self.route("GET", "/healthz", self.healthz)
        self.route("GET", "/version", self.version)
        self.route("GET", "/v1/models", self.ready)
        self.route("GET", "/v2/models", self.models)
        self.route("POST", "/v2/models", self.create)
        self.route("GET", "/v2/models/", self.instances)
        self.route("PUT", "/v2/models/", self.change)
        self.route("DELETE", "/v2/models/", self.delete)

    async def healthz(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def version(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "v2.2.3", "git_commit": "abc"})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        names = [one["name"] for one in self.deployed.values() if one["ready_replicas"]]
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    def put(self, name: str, *, replicas: int = 0, ready: int = 0, **more: Any) -> int:
        id = len(self.deployed) + 1
        base = {"meta": {}, "categories": ["llm"], "backend": "vLLM", "source": "huggingface"}
        own = {"id": id, "name": name, "replicas": replicas, "ready_replicas": ready}
        times = {"created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-02T10:00:00Z"}
        self.deployed[id] = {**base, **more, **own, **times}
        return id

    async def models(self, request: web.Request) -> web.StreamResponse:
        if self.scope != "management":
            told = {"code": 403, "reason": "Forbidden", "message": "No permission to access"}
            return web.json_response(told, status=403)
        page = int(request.query["page"])
        assert 1 <= int(request.query["perPage"]) <= 100
        rows = list(self.deployed.values())
        pages = -(-len(rows) // self.per_page)
        chosen = rows[(page - 1) * self.per_page : page * self.per_page]
        pagination = {"page": page, "perPage": self.per_page, "total": len(rows), "totalPage": pages}
        return web.json_response({"items": chosen, "pagination": pagination})

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if any(one["name"] == body["name"] for one in self.deployed.values()):
            told = {"code": 409, "reason": "AlreadyExists", "message": f"Model '{body['name']}' already exists."}
            return web.json_response(told, status=409)
        id = self.put(body.pop("name"), replicas=body.pop("replicas"), **body)
        return web.json_response(self.deployed[id])

    async def instances(self, request: web.Request) -> web.StreamResponse:
        id = _id(request)
        if id not in self.deployed:
            return web.json_response({"code": 404, "reason": "NotFound", "message": "Model not found"}, status=404)
        one = self.deployed[id]
        if not one["replicas"]:
            return web.json_response({"items": [], "pagination": {}})
        self.looked[id] = self.looked.get(id, -1) + 1
        told: dict[str, Any] = {"id": 1, "name": f"{one['name']}-x", "model_id": id, "state_message": ""}
        if self.failing:
            told |= {"state": "error", "state_message": "No GPU is large enough"}
        elif self.looked[id] < self.looks:
            told |= {"state": "downloading", "download_progress": 41.5}
        else:
            told |= {"state": "running", "download_progress": 100}
            one["ready_replicas"] = 1
        return web.json_response({"items": [told], "pagination": {}})

    async def change(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        one = self.deployed[_id(request)]
        if not {"name", "source", "replicas", "categories"} <= set(body):
            return web.json_response({"code": 422, "reason": "Invalid", "message": "Field required"}, status=422)
        one.update(body)
        if not one["replicas"]:
            one["ready_replicas"] = 0
        return web.json_response(one)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        del self.deployed[_id(request)]
        return web.Response()


def _id(request: web.Request) -> int:
    return int(request.path.split("/")[3])
