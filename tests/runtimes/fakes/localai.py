"""LocalAI as its documentation and source have it: galleries, jobs by id, deletion as a job, loading that blocks.

`old`: the years in which errors were written as an empty object, a deletion's job was never known by the id given out,
nothing could be loaded without a call, and no list told what models can do.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class FakeLocalAI(FakeRuntime):
    """`late_looks`: how often a new job is unknown at first. `fails_with`: what every job ends in."""

    old: bool = False
    starting: bool = False
    models: dict[str, list[str]] = field(
        default_factory=lambda: {"phi-4": ["chat", "completion", "vision"], "bert embeddings": ["embeddings"]}
    )
    loaded: set[str] = field(default_factory=set)
    gallery: dict[str, int] = field(default_factory=lambda: {"localai@qwen3": 40_000})
    step_bytes: int = 15_000
    late_looks: int = 1
    fails_with: str = ""
    forgets: bool = False
    breaks: bool = False
    is_admin: bool = True

    def __post_init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.have: dict[str, int] = {}  # bytes that have come, which stay
        super().__post_init__()

    def routes(self) -> None:
        self.route("GET", "/readyz", self._ready)
        self.route("GET", "/healthz", self._healthy)
        self.route("GET", "/version", self._version)
        self.route("GET", "/v1/models", self._list)
        self.route("GET", "/system", self._system)
        self.route("POST", "/models/apply", self._apply)
        self.route("POST", "/models/import-uri", self._import)
        self.route("GET", "/models/jobs/", self._job)
        self.route("POST", "/models/delete/", self._delete)
        self.route("POST", "/api/operations/", self._operation)
        self.route("POST", "/backend/shutdown", self._shutdown)
        if not self.old:
            self.route("GET", "/v1/models/capabilities", self._capabilities)
            self.route("POST", "/backend/load", self._load)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return _error(404, "Resource not found")

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        return _json({"status": "starting"}, status=503) if self.starting else web.Response(status=200)

    async def _healthy(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=200)

    async def _version(self, request: web.Request) -> web.StreamResponse:
        return _json({"version": "v3.9.0 (0c8bba1f)"})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _capabilities(self, request: web.Request) -> web.StreamResponse:
        data = [
            {"id": name, "object": "model", "capabilities": can, "input_modalities": ["text"], "context_size": 8192}
            for name, can in self.models.items()
        ]
        return _json({"object": "list", "data": data})

    async def _system(self, request: web.Request) -> web.StreamResponse:
        if not self.is_admin:
            return _error(403, "admin access required")
        loaded = [{"id": name, "backend": "llama-cpp"} for name in sorted(self.loaded)]
        return _json({"backends": ["llama-cpp"], "loaded_models": loaded})

    async def _apply(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        return self._begin(asked["id"], asked.get("name") or asked["id"].rpartition("@")[2])

    async def _import(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        name = (asked.get("preferences") or {}).get("name") or asked["uri"].rpartition("/")[2]
        self.gallery.setdefault(asked["uri"], 20_000)
        return self._begin(asked["uri"], name)

    def _begin(self, source: str, name: str, *, deletion: bool = False, id: str = "") -> web.Response:
        known, given = id or str(uuid.uuid4()), str(uuid.uuid4())
        self.jobs[known] = {
            "deletion": deletion,
            "file_name": "",
            "error": None if self.old else "",
            "processed": False,
            "message": "processing",
            "progress": 0.0,
            "file_size": "",
            "downloaded_size": "",
            "gallery_element_name": source,
            "cancelled": False,
            "cancellable": True,
            "_name": name,
            "_late": self.late_looks,
        }
        shown = given if deletion and self.old else known
        return _json({"uuid": shown, "status": f"http://localhost/models/jobs/{shown}"})

    async def _job(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.path.rpartition("/")[2])
        if job is None or self.forgets:
            return _error(500, "could not find any status for ID")
        if job["_late"]:
            job["_late"] -= 1
            return _error(500, "could not find any status for ID")
        if not job["processed"]:
            self._advance(job)
        return _json({key: value for key, value in job.items() if not key.startswith("_")})

    def _advance(self, job: dict[str, Any]) -> None:
        source, total = job["gallery_element_name"], self.gallery.get(job["gallery_element_name"])
        if job["deletion"]:
            self.models.pop(job["_name"], None)
            job |= {"processed": True, "message": "completed", "progress": 100.0}
            return
        said = self.fails_with or (f'no model found with name "{source}"' if total is None else "")
        if said:
            job |= {"processed": True, "error": {} if self.old else said, "message": f"error: {said}"}
            return
        assert total is not None
        self.have[source] = min(self.have.get(source, 0) + self.step_bytes, total)
        job["progress"] = 100.0 * self.have[source] / total
        job |= {"message": "processing file", "file_size": "39 KiB", "downloaded_size": "15 KiB"}
        if not self.old:
            job |= {"phase": "downloading", "current_bytes": self.have[source], "total_bytes": total}
        if self.have[source] == total:
            self.models[job["_name"]] = ["chat"]
            job |= {"processed": True, "message": "completed", "progress": 100.0}

    async def _operation(self, request: web.Request) -> web.StreamResponse:
        id, _, what = request.path.removeprefix("/api/operations/").partition("/")
        job = self.jobs.get(id)
        if job is None or what != "cancel":
            return _json({"error": "no such operation"}, status=400)
        job |= {"cancelled": True, "processed": True, "message": "cancelled"}
        return _json({"success": True, "message": "Operation cancelled"})

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        name = unquote(request.raw_path.removeprefix("/models/delete/"))
        answer = self._begin(name, name, deletion=True)
        if self.old:
            self.models.pop(name, None)
        return answer

    async def _load(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json()).get("model", "")
        if not name:
            return _json({"loaded": None, "message": "model is required"}, status=400)
        await asyncio.sleep(0)
        if self.breaks:
            return _json({"loaded": None, "message": "failed to load model: out of memory"}, status=500)
        self.loaded.add(name)
        return _json({"loaded": [name], "message": "model loaded"})

    async def _shutdown(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json()).get("model", "")
        if name not in self.loaded:
            return _error(404, f"model {name} is not loaded")
        self.loaded.discard(name)
        return _json({"message": "model stopped"})


def _json(data: Any, *, status: int = 200) -> web.Response:
    body = json.dumps(data).encode() + b"\n"
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})


def _error(status: int, message: str) -> web.Response:
    return _json({"error": {"code": status, "message": message, "type": ""}}, status=status)
