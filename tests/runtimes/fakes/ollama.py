"""Ollama as its documentation and its server's source have it: lists, pulls in layers, memory, errors in mid-stream.

Sources: https://docs.ollama.com/api and server/routes.go of ollama/ollama, which writes a stream's errors with their
status as long as nothing was sent, and as a last line afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class FakeModel:
    """`library` models are what a pull finds; `capabilities` None is a runtime of old, which did not say."""

    name: str
    family: str = "llama"
    capabilities: tuple[str, ...] = ("completion",)
    layers: tuple[int, ...] = (40_000, 3_000, 120)
    parameters: int = 1_235_814_400
    parameter_size: str = "1.2B"
    context_length: int = 131_072
    remote_model: str = ""
    in_list: bool = False  # whether /api/tags says the capabilities

    @property
    def size(self) -> int:
        return sum(self.layers)

    @property
    def digests(self) -> list[str]:
        named = self.name if not self.remote_model else self.remote_model
        return ["sha256:" + hashlib.sha256(f"{named}-{i}".encode()).hexdigest() for i in range(len(self.layers))]

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "",
            "format": "" if self.remote_model else "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": "Q4_K_M",
        }


def chat(name: str = "tiny:latest", **changed: Any) -> FakeModel:
    return FakeModel(name, **{"capabilities": ("completion", "tools"), **changed})


def embedding(name: str = "all-minilm:latest") -> FakeModel:
    return FakeModel(
        name,
        family="bert",
        capabilities=("embedding",),
        parameters=22_565_376,
        parameter_size="23M",
        context_length=512,
    )


@dataclass
class FakeOllama(FakeRuntime):
    """`pause_s`: between two lines of a pull. `fails_with`: an error line after the first bytes of a pull."""

    models: list[FakeModel] = field(default_factory=lambda: [chat(), embedding()])
    library: list[FakeModel] = field(default_factory=lambda: [chat("llama3.2:latest"), chat("vision:7b")])
    version: str = "0.33.0"
    pause_s: float = 0.0
    chunk_bytes: int = 10_000
    fails_with: str = ""
    cuts: bool = False
    load_s: float = 0.0
    lingers: int = 0  # how often a model that is unloaded is still seen in memory

    def __post_init__(self) -> None:
        self.loaded: dict[str, str | int | float] = {}
        self.have: dict[str, int] = {}  # bytes of each layer that have come
        self.blobs: set[str] = set()
        self._lingering: dict[str, int] = {}
        super().__post_init__()

    def routes(self) -> None:
        self.route("GET", "/", self._root)
        self.route("GET", "/api/version", self._version)
        self.route("GET", "/api/tags", self._tags)
        self.route("GET", "/api/ps", self._ps)
        self.route("POST", "/api/show", self._show)
        self.route("POST", "/api/pull", self._pull)
        self.route("POST", "/api/create", self._create)
        self.route("POST", "/api/generate", self._generate)
        self.route("POST", "/api/embed", self._embed)
        self.route("DELETE", "/api/delete", self._delete)
        self.route("HEAD", "/api/blobs/", self._blob)

    def find(self, name: str, among: list[FakeModel] | None = None) -> FakeModel | None:
        wanted = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        models = self.models if among is None else among
        return next((one for one in models if one.name.casefold() == wanted.casefold()), None)

    async def _root(self, request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def _version(self, request: web.Request) -> web.Response:
        return _json({"version": self.version})

    async def _tags(self, request: web.Request) -> web.Response:
        return _json({"models": [self._tag(one) for one in self.models]})

    def _tag(self, one: FakeModel) -> dict[str, Any]:
        tag: dict[str, Any] = {
            "name": one.name,
            "model": one.name,
            "modified_at": "2026-08-04T14:56:49.277302595-07:00",
            "size": 381 if one.remote_model else one.size,
            "digest": one.digests[0].removeprefix("sha256:"),
            "details": one.details,
        }
        if one.remote_model:
            tag |= {"remote_model": one.remote_model, "remote_host": "https://ollama.com:443"}
        if one.in_list:
            tag["capabilities"] = list(one.capabilities)
            tag["details"] |= {"context_length": one.context_length, "embedding_length": 2048}
        return tag

    async def _ps(self, request: web.Request) -> web.Response:
        for name in list(self._lingering):
            self._lingering[name] -= 1
            if self._lingering[name] < 0:
                del self._lingering[name]
                self.loaded.pop(name, None)
        running = [one for one in self.models if one.name in self.loaded]
        return _json(
            {
                "models": [
                    {
                        "name": one.name,
                        "model": one.name,
                        "size": one.size * 2,
                        "digest": one.digests[0].removeprefix("sha256:"),
                        "details": one.details,
                        "expires_at": "2026-08-04T14:38:31.83753-07:00",
                        "size_vram": one.size * 2,
                        "context_length": 4096,
                    }
                    for one in running
                ]
            }
        )

    async def _show(self, request: web.Request) -> web.Response:
        one = self.find((await request.json())["model"])
        if one is None:
            return _missing((await request.json())["model"])
        shown: dict[str, Any] = {
            "modelfile": '# Modelfile generated by "ollama show"\nFROM /root/.ollama/models/blobs/sha256-0\n',
            "template": "{{ .Prompt }}",
            "details": one.details,
            "model_info": {
                "general.architecture": one.family,
                "general.parameter_count": one.parameters,
                f"{one.family}.context_length": one.context_length,
                f"{one.family}.embedding_length": 2048,
                "tokenizer.ggml.tokens": None,
            },
            "capabilities": list(one.capabilities),
            "modified_at": "2026-08-04T14:56:49.277302595-07:00",
        }
        if one.remote_model:
            shown |= {"remote_model": one.remote_model, "remote_host": "https://ollama.com:443"}
        return _json(shown)

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        one = self.find(asked["model"], [*self.library, *self.models])
        if one is None and asked["model"].startswith("hf.co/"):
            one = chat(asked["model"] if ":" in asked["model"] else f"{asked['model']}:latest")
        response = await _begin(request)
        await _line(response, {"status": "pulling manifest"})
        await asyncio.sleep(self.pause_s)
        if one is None:
            return await _end(response, {"error": "pull model manifest: file does not exist"})
        if not await self._layers(response, one):
            return response
        for status in ("verifying sha256 digest", "writing manifest", "removing any unused layers", "success"):
            await _line(response, {"status": status})
        if self.find(one.name) is None:
            self.models.append(one)
        await response.write_eof()
        return response

    async def _layers(self, response: web.StreamResponse, one: FakeModel) -> bool:
        """Send them all at once, in turns, as parallel downloads are told of; False if it broke off."""
        totals = dict(zip(one.digests, one.layers, strict=True))
        told: set[str] = set()
        while any(self.have.get(digest, 0) < total for digest, total in totals.items()) or told != set(totals):
            for digest, total in totals.items():
                line: dict[str, Any] = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
                if digest in told:
                    if self.have.get(digest, 0) >= total:
                        continue
                    self.have[digest] = min(self.have.get(digest, 0) + self.chunk_bytes, total)
                if self.have.get(digest, 0):
                    line["completed"] = self.have[digest]
                told.add(digest)
                await _line(response, line)
                await asyncio.sleep(self.pause_s)
            if self.fails_with:
                await _end(response, {"error": self.fails_with})
                return False
            if self.cuts:
                assert response._req is not None and response._req.transport is not None
                response._req.transport.abort()
                raise ConnectionResetError
        return True

    async def _create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        base = self.find(asked.get("from", ""), [*self.models, *self.library])
        files = asked.get("files") or {}
        if not files and base is None and not asked.get("from", "").startswith("hf.co/"):
            return _json({"error": "pull model manifest: file does not exist"}, status=500)
        if missing := set(files.values()) - self.blobs:
            return _json({"error": f"invalid digest: {missing.pop()}"}, status=400)
        base = base or chat(asked.get("from", "made"))
        response = await _begin(request)
        if not files and self.find(base.name) is None:
            await _line(response, {"status": "pulling manifest"})
            if not await self._layers(response, base):
                return response
            await _line(response, {"status": "success"})
        for status in (f"using existing layer {base.digests[0]}", "writing manifest"):
            await _line(response, {"status": status})
        name = asked["model"] if ":" in asked["model"] else f"{asked['model']}:latest"
        self.models.append(chat(name, capabilities=base.capabilities, layers=base.layers))
        return await _end(response, {"status": "success"})

    async def _generate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        one = self.find(asked["model"])
        if one is None:
            return _missing(asked["model"])
        done = {"model": asked["model"], "created_at": "2026-08-04T21:17:29.110811Z", "response": "", "done": True}
        if asked.get("keep_alive") == 0 and not asked.get("prompt"):
            self._unload(one)
            return _json({**done, "done_reason": "unload"})
        if "completion" not in one.capabilities:
            return _json({"error": f'"{one.name}" does not support generate'}, status=400)
        await asyncio.sleep(self.load_s)
        self.loaded[one.name] = asked.get("keep_alive", "5m")
        return _json({**done, "done_reason": "load"})

    def _unload(self, one: FakeModel) -> None:
        if one.name in self.loaded:
            self._lingering[one.name] = self.lingers

    async def _embed(self, request: web.Request) -> web.Response:
        asked = await request.json()
        one = self.find(asked["model"])
        if one is None:
            return _missing(asked["model"])
        if "embedding" not in one.capabilities:
            return _json({"error": "this model does not support embeddings"}, status=400)
        self.loaded[one.name] = asked.get("keep_alive", "5m")
        return _json({"model": asked["model"], "embeddings": [], "total_duration": 14143917, "load_duration": 1019500})

    async def _delete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        one = self.find(asked["model"])
        if one is None:
            return _missing(asked["model"])
        self.models.remove(one)
        self.loaded.pop(one.name, None)
        return web.Response(status=200)

    async def _blob(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if request.path.rpartition("/")[2] in self.blobs else 404)


def _json(data: Any, *, status: int = 200) -> web.Response:
    body = json.dumps(data, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json; charset=utf-8"})


def _missing(name: str) -> web.Response:
    return _json({"error": f"model '{name}' not found"}, status=404)


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


async def _line(response: web.StreamResponse, data: Any) -> None:
    await response.write(json.dumps(data, separators=(",", ":")).encode() + b"\n")


async def _end(response: web.StreamResponse, data: Any) -> web.StreamResponse:
    await _line(response, data)
    await response.write_eof()
    return response
