"""LM Studio as its documentation has it: API v1 of 0.4, or only v0, where an unknown path is 200 with an error.

Sources: https://lmstudio.ai/docs/developer/rest (list, load, unload, download, download status)
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
    key: str
    type: str = "llm"
    vision: bool = False
    instances: list[str] = field(default_factory=list)


@dataclass
class FakeLMStudio(FakeRuntime):
    """`old`: before 0.4. `catalogue`: what can be downloaded, and its bytes. `looks`: each brings `step_bytes` more."""

    old: bool = False
    models: list[Model] = field(
        default_factory=lambda: [Model("qwen/qwen3-4b"), Model("text-embedding-nomic", "embedding")]
    )
    catalogue: dict[str, int] = field(
        default_factory=lambda: {"google/gemma-3": 30_000, "https://huggingface.co/me/Mine-GGUF": 20_000}
    )
    step_bytes: int = 15_000
    fails: bool = False
    load_s: float = 0.0
    breaks: bool = False  # a model cannot be loaded

    def __post_init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        super().__post_init__()

    def routes(self) -> None:
        self.route("GET", "/api/v0/models", self._old_list)
        if not self.old:
            self.route("GET", "/api/v1/models", self._list)
            self.route("POST", "/api/v1/models/download", self._download)
            self.route("GET", "/api/v1/models/download/status/", self._status)
            self.route("POST", "/api/v1/models/load", self._load)
            self.route("POST", "/api/v1/models/unload", self._unload)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return _json({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})

    def unauthorized(self, request: web.Request) -> web.StreamResponse:
        error = {"message": "Invalid API token", "type": "invalid_request", "code": "invalid_api_key", "param": None}
        return _json({"error": error}, status=401)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return _json({"models": [self._entry(one) for one in self.models]})

    def _entry(self, one: Model) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "type": one.type,
            "publisher": one.key.partition("/")[0],
            "key": one.key,
            "display_name": one.key.title(),
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": 2_279_145_003,
            "params_string": "4B" if one.type == "llm" else None,
            "loaded_instances": [{"id": id, "config": {"context_length": 4096}} for id in one.instances],
            "max_context_length": 32_768,
            "format": "gguf",
        }
        if one.type == "llm":
            entry |= {"architecture": "qwen3", "description": None}
            entry["capabilities"] = {"vision": one.vision, "trained_for_tool_use": True}
        return entry

    async def _old_list(self, request: web.Request) -> web.StreamResponse:
        data = [
            {
                "id": one.key,
                "object": "model",
                "type": "embeddings" if one.type == "embedding" else "vlm" if one.vision else "llm",
                "publisher": one.key.partition("/")[0],
                "arch": "qwen3",
                "compatibility_type": "mlx",
                "quantization": "4bit",
                "state": "loaded" if one.instances else "not-loaded",
                "max_context_length": 32_768,
                "capabilities": ["tool_use"],
            }
            for one in self.models
        ]
        return _json({"object": "list", "data": data})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        if any(one.key == name for one in self.models):
            return _json({"status": "already_downloaded"})
        if name not in self.catalogue:
            return _error(404, f"Model {name} not found", "model_not_found")
        job = {
            "job_id": f"job_{len(self.jobs):010x}",
            "status": "downloading",
            "total_size_bytes": self.catalogue[name],
            "downloaded_bytes": 0,
            "bytes_per_second": 7834.71,
            "estimated_completion": "2026-10-07T00:21:47.030Z",
            "started_at": "2026-10-03T15:33:23.496Z",
        }
        self.jobs[job["job_id"]] = {"name": name, "told": job}
        return _json(job)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.path.rpartition("/")[2])
        if job is None:
            return _error(404, "Download job not found", "job_not_found")
        told = job["told"]
        if told["status"] == "downloading":
            if self.fails:
                told["status"] = "failed"
                return _json(told)
            told["downloaded_bytes"] = min(told["downloaded_bytes"] + self.step_bytes, told["total_size_bytes"])
            if told["downloaded_bytes"] == told["total_size_bytes"]:
                told |= {"status": "completed", "completed_at": "2026-10-03T15:43:12.102Z"}
                self.models.append(Model(job["name"]))
        return _json(told)

    async def _load(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        one = next((one for one in self.models if one.key == asked["model"]), None)
        if one is None:
            return _error(404, f"Model {asked['model']} not found", "model_not_found")
        await asyncio.sleep(self.load_s)
        if self.breaks:
            return _error(500, "Failed to load model: insufficient memory", "model_load_failed")
        one.instances.append(one.key if not one.instances else f"{one.key}:{len(one.instances) + 1}")
        return _json({"type": one.type, "instance_id": one.instances[-1], "load_time_seconds": 9.1, "status": "loaded"})

    async def _unload(self, request: web.Request) -> web.StreamResponse:
        id = (await request.json())["instance_id"]
        one = next((one for one in self.models if id in one.instances), None)
        if one is None:
            return _error(404, f"Instance {id} not found", "instance_not_found")
        one.instances.remove(id)
        return _json({"instance_id": id})


def _json(data: Any, *, status: int = 200) -> web.Response:
    body = json.dumps(data).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json; charset=utf-8"})


def _error(status: int, message: str, code: str) -> web.Response:
    error = {"type": "invalid_request", "message": message, "code": code, "param": "model"}
    return _json({"error": error}, status=status)
