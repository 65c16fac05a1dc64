"""Servers that others wrote, with one small application: /echo, /stream, /head and /nothing."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from aiohttp import web

PIECES = [f"data: {number}\n\n".encode() for number in range(50)]
SIZES = [0, 1, 1000, 65_535, 65_536, 65_537, 300_000, 5_000_000]


@asynccontextmanager
async def aiohttp_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
        return response

    async def head(request: web.Request) -> web.Response:
        said = dict(request.raw_headers).get(b"X-A", b"").decode("latin-1")
        return web.json_response({"query": request.rel_url.raw_query_string, "x-a": said})

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application(client_max_size=2**30)
    app.add_routes([web.post("/echo", echo), web.get("/stream", stream), web.get("/head", head)])
    app.add_routes([web.delete("/nothing", nothing)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The same as an ASGI application."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    status, headers, pieces = 200, [], [body]
    if scope["path"] == "/stream":
        headers, pieces = [(b"content-type", b"text/event-stream")], PIECES
    elif scope["path"] == "/head":
        said = dict(scope["headers"]).get(b"x-a", b"").decode("latin-1")
        pieces = [json.dumps({"query": scope["query_string"].decode(), "x-a": said}).encode()]
    elif scope["path"] == "/nothing":
        status, pieces = 204, [b""]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def uvicorn_server(http: str) -> Iterator[str]:
    config = uvicorn.Config(asgi, "127.0.0.1", 0, http=http, loop="asyncio", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
