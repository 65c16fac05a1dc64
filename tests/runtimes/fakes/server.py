"""What the fake runtimes share: an HTTP server on a socket of its own, in a thread of its own, that keeps a record.

with FakeOllama() as runtime:
    runtime.behave("POST", "/api/pull", hang)     # until `well` takes it back
    ...
    assert runtime.asked("DELETE", "/api/delete")[0].json == {"model": "tiny:latest"}
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """One request. `path` is as it came, percent signs and all; `closed`: the client went before the answer ended."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    closed: bool = False
    answered: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeRuntime:
    """A runtime. Subclasses add their routes with `route`; a key of its own is asked for if there is one."""

    key: str = ""
    requests: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._behaviours: dict[tuple[str, str], Behaviour] = {}
        self._app = web.Application()
        self._app.router.add_route("*", "/{tail:.*}", self._take)
        self._routes: list[tuple[str, str, Behaviour]] = []
        self._loop = asyncio.new_event_loop()
        self._is_serving = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port = 0
        self.routes()

    def routes(self) -> None:
        """Called once: the place for `self.route(…)`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def route(self, method: str, path: str, behaviour: Behaviour) -> None:
        """A path that ends in “/” takes everything below it."""
        self._routes.append((method, path, behaviour))

    def behave(self, method: str, path: str, behaviour: Behaviour) -> None:
        self._behaviours[method, path] = behaviour

    def well(self, method: str, path: str) -> None:
        self._behaviours.pop((method, path), None)

    def asked(self, method: str, path: str) -> list[Received]:
        return [one for one in list(self.requests) if (one.method, one.path) == (method, path)]

    def wait_for(self, method: str, path: str, *, closed: bool = False, within_s: float = 20.0) -> Received:
        """The first such request, once it is there; with `closed`, once its client went away."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            found = [one for one in self.asked(method, path) if one.closed or not closed]
            if found:
                return found[0]
            time.sleep(0.01)
        raise AssertionError(f"no {'broken off ' if closed else ''}{method} {path} among {self.requests}")

    def unauthorized(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "Invalid API Key", "type": "authentication_error"}}, status=401)

    def unknown(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found")

    async def _take(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method,
            request.raw_path.partition("?")[0],
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        self.requests.append(received)
        if self.key and received.headers.get("authorization") != f"Bearer {self.key}":
            return self.unauthorized(request)
        behaviour = self._behaviours.get((received.method, received.path)) or self._routed(received)
        try:
            response = await (behaviour(request) if behaviour else _ready(self.unknown(request)))
        except ConnectionError:  # broken off by the client, or by what the test wants
            received.closed = True
            raise asyncio.CancelledError from None
        except asyncio.CancelledError:
            received.closed = True
            raise
        received.answered = True
        return response

    def _routed(self, received: Received) -> Behaviour | None:
        for method, path, behaviour in self._routes:
            below = path.endswith("/") and path != "/" and received.path.startswith(path)
            if method == received.method and (path == received.path or below):
                return behaviour
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_serving.wait(20), "the fake runtime did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stopping = self._stopping
        assert stopping is not None
        self._loop.call_soon_threadsafe(stopping.set)
        self._thread.join(20)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._served())
        finally:
            self._loop.close()

    async def _served(self) -> None:
        self._stopping = asyncio.Event()
        runner = web.AppRunner(self._app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._is_serving.set()
        await self._stopping.wait()
        await runner.cleanup()


async def _ready(response: web.StreamResponse) -> web.StreamResponse:
    return response


async def hang(request: web.Request) -> web.StreamResponse:
    """Take the request and never answer."""
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits for an hour")


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Take the request and close the connection without an answer."""
    protocol = request.protocol
    assert isinstance(protocol, RequestHandler)
    protocol.force_close()
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


def says(status: int, body: bytes | str, content_type: str = "application/json") -> Behaviour:
    """Always this answer."""
    data = body.encode() if isinstance(body, str) else body

    async def answered(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=data, headers={"Content-Type": content_type})

    return answered
