"""A Xinference that has no engine, as version 4.1.0 was seen to answer, without authentication or with a key.

What is launched is ready after `looks` looks at its progress. `forbidden`: the key is not an administrator's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime

FOUND_NOT = "[address=127.0.0.1:1, pid=1] Model not found in the model list, uid: {}"
BUILT_IN = {
    "qwen2.5-instruct": {"type": "LLM", "ability": ["chat", "tools"], "sizes": ["0_5"], "format": "ggufv2"},
    "bge-m3": {"type": "embedding", "ability": ["embed"], "sizes": [], "format": "pytorch"},
}


@dataclass
class Launched:
    body: dict[str, Any]
    looks: int
    status: str = "CREATING"
    error: str | None = None


@dataclass
class FakeXinference(FakeRuntime):
    looks: int = 2
    forbidden: bool = False
    stuck: bool = False  # launches never come to an end
    keeps: bool = False  # deletions are answered with yes, and nothing goes
    launched: dict[str, Launched] = field(default_factory=dict)
    cached: list[dict[str, Any]] = field(default_factory=list)
    registered: dict[str, dict[str, Any]] = field(default_factory=dict)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    def unauthorized(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "Could not validate credentials"}, status=401)

    def routes(self) -> None:
        self.route("GET", "/v1/cluster/version", self.version)
        self.route("GET", "/v1/models", self.running)
        self.route("POST", "/v1/models", self.launch)
        self.route("GET", "/v1/models/instances", self.instances)
        self.route("GET", "/v1/models/", self.progress)
        self.route("POST", "/v1/models/", self.cancel)
        self.route("DELETE", "/v1/models/", self.terminate)
        self.route("GET", "/v1/engines/", self.engines)
        self.route("GET", "/v1/cache/models", self.cache)
        self.route("DELETE", "/v1/cache/models", self.uncache)
        self.route("GET", "/v1/model_registrations/", self.registrations)
        self.route("POST", "/v1/model_registrations/", self.register)
        self.route("DELETE", "/v1/model_registrations/", self.unregister)

    async def version(self, request: web.Request) -> web.StreamResponse:
        if self.forbidden:
            return web.json_response({"detail": "Not enough permissions"}, status=403)
        return web.json_response({"version": "4.1.0", "full-revisionid": "a3625815"})

    def put(self, name: str, *, quantization: str = "q4_k_m", kind: str = "LLM", **more: Any) -> None:
        """Something that is kept."""
        entry = {
            "model_name": name,
            "model_type": kind,
            "model_engine": ["llama.cpp"],
            "model_size_in_billions": "0_5",
            "model_format": "ggufv2",
            "quantization": quantization,
            "model_version": f"{name}--0_5B--ggufv2--{quantization}",
            "path": f"/cache/v2/{name}",
            "real_path": f"/cache/v2/{name}/{name}.gguf",
            "actor_ip_address": "127.0.0.1:22221",
            "size_bytes": 622592,
            **more,
        }
        self.cached.append(entry)

    async def running(self, request: web.Request) -> web.StreamResponse:
        data = [self.entry(uid, one) for uid, one in self.launched.items() if one.status == "READY"]
        return web.json_response({"object": "list", "data": data})

    def entry(self, uid: str, one: Launched) -> dict[str, Any]:
        known = BUILT_IN.get(one.body["model_name"], {"ability": ["chat"]})
        return {
            "id": uid,
            "object": "model",
            "created": 0,
            "owned_by": "xinference",
            "model_type": one.body["model_type"],
            "address": "127.0.0.1:36811",
            "model_name": one.body["model_name"],
            "model_ability": known["ability"],
            "model_description": None,
            "model_format": one.body.get("model_format"),
            "model_size_in_billions": one.body.get("model_size_in_billions"),
            "model_family": one.body["model_name"],
            "quantization": one.body.get("quantization"),
            "context_length": 2048,
            "model_engine": one.body.get("model_engine"),
            "replica": 1,
        }

    async def launch(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        uid = body["model_uid"]
        if uid in self.launched and self.launched[uid].status == "READY":
            # What was seen: it says yes, and then ends what runs.
            self.launched[uid] = Launched(body, 0, "ERROR")
            return web.json_response({"model_uid": uid})
        if body["model_type"] == "LLM" and not body.get("model_engine"):
            detail = "Invalid input. Please specify the `model_engine` field."
            return web.json_response({"detail": detail}, status=400)
        one = self.launched[uid] = Launched(body, self.looks)
        if body["model_name"] not in BUILT_IN and body["model_name"] not in self.registered:
            one.status, one.error = "ERROR", f"Model not found, name: {body['model_name']}, format: None"
        assert request.query["wait_ready"] == "false"
        return web.json_response({"model_uid": uid})

    async def instances(self, request: web.Request) -> web.StreamResponse:
        uid = request.query.get("model_uid")
        return web.json_response(
            [self.instance(name, self.launched[name]) for name in self.launched if uid in (None, name)]
        )

    def instance(self, uid: str, one: Launched) -> dict[str, Any]:
        replica = {
            "replica_id": 0,
            "replica_model_uid": f"{uid}-rep0",
            "status": one.status,
            "error_message": one.error,
        }
        return {
            "model_name": one.body["model_name"],
            "model_uid": uid,
            "model_version": None,
            "model_ability": [],
            "replica": 1,
            "status": one.status,
            "instance_created_ts": 1795265172,
            "n_worker": 1,
            "replica_statuses": [replica],
        }

    async def progress(self, request: web.Request) -> web.StreamResponse:
        uid = _segments(request)[2]
        one = self.launched.get(uid)
        if one is None or one.status != "CREATING":
            return web.json_response({"progress": 0.0, "stage": "pending", "download_files": [], "replicas": []})
        one.looks -= 0 if self.stuck else 1
        if one.looks <= 0:
            one.status = "READY"
            self.put(one.body["model_name"], quantization=one.body.get("quantization", "none"))
        done = (self.looks - one.looks) / self.looks
        files = [
            {"file_name": name, "downloaded_bytes": round(done * size), "total_bytes": size, "progress": done}
            for name, size in (("config.json", 100), ("model.gguf", 900))
        ]
        told = {"progress": done, "stage": "downloading", "download_files": files, "replicas": []}
        return web.json_response(told)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        _, _, uid, verb = _segments(request)
        assert verb == "cancel"
        one = self.launched.get(uid)
        if one is None:
            return web.json_response({"detail": f"Model {uid} has not been launched yet"}, status=500)
        if one.status == "CREATING":
            one.status = "TERMINATED"
        return web.json_response(None)

    async def terminate(self, request: web.Request) -> web.StreamResponse:
        uid = _segments(request)[2]
        if uid not in self.launched or self.launched[uid].status != "READY":
            return web.json_response({"detail": FOUND_NOT.format(uid)}, status=400)
        self.launched[uid].status = "TERMINATED"
        return web.json_response(None)

    async def engines(self, request: web.Request) -> web.StreamResponse:
        name = _segments(request)[2]
        if name not in BUILT_IN and name not in self.registered:
            return web.json_response(None)
        told = self.registered.get(name, {}).get("model", {}).get("model_specs")
        kept = [{"model_format": "ggufv2", "model_size_in_billions": "0_5", "quantizations": ["q2_k", "q4_k_m"]}]
        specs = kept if told is None else [{**one, "quantizations": [one["quantization"]]} for one in told]
        missing = "Failed to import vLLM: No module named 'vllm'"
        return web.json_response({"llama.cpp": specs, "vLLM": missing, "Transformers": "only supports pytorch"})

    async def cache(self, request: web.Request) -> web.StreamResponse:
        if self.forbidden:
            return web.json_response({"detail": "Not enough permissions"}, status=403)
        name = request.query.get("model_name")
        return web.json_response({"list": [one for one in self.cached if name in (None, one["model_name"])]})

    async def uncache(self, request: web.Request) -> web.StreamResponse:
        version = request.query["model_version"]
        if not self.keeps:
            self.cached = [one for one in self.cached if one["model_version"] != version]
        return web.json_response({"result": True})

    async def registrations(self, request: web.Request) -> web.StreamResponse:
        _, _, kind, *name = _segments(request)
        known = {one: BUILT_IN[one]["type"] for one in BUILT_IN}
        known |= {one: told["type"] for one, told in self.registered.items()}
        if not name:
            listed = [{"model_name": one, "is_builtin": one in BUILT_IN} for one, type in known.items() if type == kind]
            return web.json_response(listed)
        if known.get(name[0]) != kind:
            return web.json_response({"detail": f"Model {name[0]} not found"}, status=400)
        told = self.registered.get(name[0], {}).get("model", {})
        ability = BUILT_IN.get(name[0], {}).get("ability", told.get("model_ability"))
        specs = told.get("model_specs", [{"model_format": "ggufv2"}, {"model_format": "pytorch"}])
        return web.json_response(
            {"model_name": name[0], "model_ability": ability, "context_length": 2048, "model_specs": specs}
        )

    async def register(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = json.loads(body["model"])
        if model["model_name"] in self.registered:
            return web.json_response({"detail": f"Model name conflicts: {model['model_name']}"}, status=400)
        self.registered[model["model_name"]] = {"type": _segments(request)[2], "model": model}
        return web.json_response(None)

    async def unregister(self, request: web.Request) -> web.StreamResponse:
        self.registered.pop(_segments(request)[3])
        return web.json_response(None)


def _segments(request: web.Request) -> list[str]:
    return [unquote(one) for one in request.raw_path.partition("?")[0].strip("/").split("/")]
