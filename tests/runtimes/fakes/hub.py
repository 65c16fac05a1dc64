"""A hub of models on loopback, of the parts of Hugging Face's API that llama.cpp reads.

Sources: https://huggingface.co/docs/hub/api (refs, tree) and common/hf-cache.cpp of llama.cpp
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.runtimes.fakes.server import FakeRuntime


@dataclass
class FakeHub(FakeRuntime):
    """`files` by repository: names and where their bytes are. Bytes come in chunks with a pause after each."""

    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    chunk_bytes: int = 256 * 1024
    pause_s: float = 0.0

    def routes(self) -> None:
        self.route("GET", "/api/models/", self._api)
        self.route("GET", "/", self._unknown_path)
        for method in ("HEAD", "GET"):
            self.route(method, "/me/", self._resolve)

    async def _unknown_path(self, request: web.Request) -> web.StreamResponse:
        return self.unknown(request)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        repository, _, what = request.path.removeprefix("/api/models/").rpartition("/refs")
        if not repository:
            repository, _, what = request.path.removeprefix("/api/models/").partition("/tree/")
        files = self.files.get(repository)
        if files is None:
            return web.json_response({"error": "Repository not found"}, status=401)
        commit = hashlib.sha1(repository.encode(), usedforsecurity=False).hexdigest()
        if not what:
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": commit}
            return web.json_response({"tags": [], "branches": [branch], "converts": []})
        return web.json_response(
            [
                {
                    "type": "file",
                    "oid": hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(),
                    "size": path.stat().st_size,
                    "path": name,
                }
                for name, path in files.items()
            ]
        )

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository, _, rest = request.path.removeprefix("/").partition("/resolve/")
        path = self.files.get(repository, {}).get(rest.partition("/")[2])
        if path is None:
            return web.Response(status=404, text="Entry not found")
        data = path.read_bytes()
        start = _start(request.headers.get("Range", ""))
        headers = {"ETag": f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"', "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(data) - start
        await response.prepare(request)
        if request.method == "GET":
            for place in range(start, len(data), self.chunk_bytes):
                await response.write(data[place : place + self.chunk_bytes])
                await asyncio.sleep(self.pause_s)
        await response.write_eof()
        return response


def _start(wanted: str) -> int:
    first = wanted.removeprefix("bytes=").partition("-")[0]
    return int(first) if first.isdigit() else 0
