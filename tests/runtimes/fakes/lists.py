"""Services of which little is managed: vLLM, Jan, GPT4All, Text Embeddings Inference, OpenAI and Anthropic.

Each answers what its documentation says, statuses, headers and shapes of errors included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


def openai_list(*models: dict[str, Any]) -> web.Response:
    return web.json_response({"object": "list", "data": list(models)})


@dataclass
class FakeVLLM(FakeRuntime):
    """`sleeps`: it was started with sleep mode, as a server for developers. Only /v1 asks for the key."""

    sleeps: bool = False
    asleep: bool = False
    model: str = "org/tiny-chat"
    root: str = "org/tiny-chat"

    def routes(self) -> None:
        self.route("GET", "/health", self.healthy)
        self.route("GET", "/version", self.version)
        self.route("GET", "/v1/models", self.models)
        self.route("GET", "/is_sleeping", self.is_sleeping)
        self.route("POST", "/sleep", self.sleep)
        self.route("POST", "/wake_up", self.wake_up)

    def unauthorized(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "Unauthorized"}, status=401)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    async def healthy(self, request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def version(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "0.14.0"})

    async def models(self, request: web.Request) -> web.StreamResponse:
        base = {"object": "model", "created": 1795265172, "owned_by": "vllm", "permission": []}
        return openai_list(
            {**base, "id": self.model, "root": self.root, "parent": None, "max_model_len": 32768},
            {**base, "id": "my-adapter", "root": "/adapters/my", "parent": self.model, "max_model_len": None},
        )

    async def is_sleeping(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"is_sleeping": self.asleep}) if self.sleeps else self.unknown(request)

    async def sleep(self, request: web.Request) -> web.StreamResponse:
        if not self.sleeps:
            return self.unknown(request)
        assert request.query["level"] == "1"
        self.asleep = True
        return web.Response()

    async def wake_up(self, request: web.Request) -> web.StreamResponse:
        if not self.sleeps:
            return self.unknown(request)
        self.asleep = False
        return web.Response()


@dataclass
class FakeJan(FakeRuntime):
    """Its errors are plain text."""

    key: str = "jan-key"

    def routes(self) -> None:
        self.route("GET", "/v1/models", self.models)

    def unauthorized(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, text="Invalid or missing authorization token")

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="Not Found")

    async def models(self, request: web.Request) -> web.StreamResponse:
        return openai_list({"id": "jan-v1-4b", "object": "model", "created": 1, "owned_by": "user"})


@dataclass
class FakeGPT4All(FakeRuntime):
    """Switched off, it answers 401 with nothing."""

    off: bool = False

    def routes(self) -> None:
        self.route("GET", "/v1/models", self.models)
        self.route("GET", "/v1/models/", self.model)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if self.off:
            return web.Response(status=401)
        names = ("Llama 3 8B Instruct", "Phi-3 Mini Instruct")
        base = {"object": "model", "created": 0, "owned_by": "humanity", "parent": None, "permissions": [{}]}
        return openai_list(*({**base, "id": name, "root": name} for name in names))

    async def model(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({})


@dataclass
class FakeTEI(FakeRuntime):
    kind: str = "embedding"
    ready: bool = True

    def routes(self) -> None:
        self.route("GET", "/health", self.health)
        self.route("GET", "/info", self.info)

    async def health(self, request: web.Request) -> web.StreamResponse:
        if self.ready:
            return web.Response()
        return web.json_response({"error": "unhealthy", "error_type": "unhealthy"}, status=503)

    async def info(self, request: web.Request) -> web.StreamResponse:
        told = {
            "model_id": "BAAI/bge-reranker-base" if self.kind == "reranker" else "BAAI/bge-small-en",
            "model_sha": None,
            "model_dtype": "float16",
            "model_type": {self.kind: {"pooling": "cls"} if self.kind == "embedding" else {"id2label": {"0": "x"}}},
            "max_input_length": 512,
            "max_client_batch_size": 32,
            "version": "1.9.3",
        }
        return web.json_response(told)


@dataclass
class FakeOpenAI(FakeRuntime):
    key: str = "sk-openai"

    def routes(self) -> None:
        self.route("GET", "/v1/models", self.models)

    async def models(self, request: web.Request) -> web.StreamResponse:
        return openai_list(
            {"id": "gpt-4.1", "object": "model", "created": 1744316542, "owned_by": "system"},
            {"id": "text-embedding-3-small", "object": "model", "created": 1705948997, "owned_by": "system"},
        )


@dataclass
class FakeAnthropic(FakeRuntime):
    """Its key comes in a header of its own; its list is in pages of at most `page`."""

    secret: str = "sk-ant-right"
    page: int = 2
    endless: bool = False
    names: tuple[str, ...] = ("claude-a", "claude-b", "claude-c", "claude-d", "claude-e")

    def routes(self) -> None:
        self.route("GET", "/v1/models", self.models)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("x-api-key") != self.secret or "authorization" in request.headers:
            return _anthropic_error(401, "authentication_error", "invalid x-api-key")
        if request.headers.get("anthropic-version") != "2023-06-01":
            return _anthropic_error(400, "invalid_request_error", "anthropic-version: header is required")
        limit = int(request.query.get("limit", "20"))
        if not 1 <= limit <= 1000:
            return _anthropic_error(400, "invalid_request_error", "limit: out of range")
        after = request.query.get("after_id")
        start = self.names.index(after) + 1 if after else 0
        chosen = self.names[start : start + min(limit, self.page)]
        data: list[dict[str, Any]] = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": "2025-02-19T00:00:00Z"}
            for name in chosen
        ]
        if "claude-a" in chosen:
            sees = {"image_input": {"supported": True}}
            data[0] |= {"max_input_tokens": 200_000, "max_tokens": 64_000, "capabilities": sees}
        more = self.endless or start + len(chosen) < len(self.names)
        last = chosen[-1] if chosen else None
        return web.json_response({"data": data, "first_id": None, "has_more": more, "last_id": last})


def _anthropic_error(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"type": "error", "error": {"type": kind, "message": message}}, status=status)
