"""A WebSocket server of our own on a real socket: it notes what comes, and says what it is told.

async def talk(socket, said): await socket.send_str(...)      # `said`: the first message
with FakeWebSocket(talk) as fake: ...
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from socket import SHUT_RDWR
from types import TracebackType

from aiohttp import WSMsgType, web

Talk = Callable[[web.WebSocketResponse, str], Awaitable[None]]
Refuse = Callable[[web.Request], web.Response | None]


class FakeWebSocket:
    """`refuse` may answer the opening request in HTTP. After `talk`, the connection stays open unless it closed it."""

    def __init__(self, talk: Talk, *, refuse: Refuse = lambda request: None, reads: bool = True) -> None:
        self.talk, self.refuse, self.reads = talk, refuse, reads
        self.opened: list[web.Request] = []
        self.messages: list[str] = []
        self.closed = threading.Event()  # a client has said goodbye or gone away
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeWebSocket:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.opened.append(request)
        if (refusal := self.refuse(request)) is not None:
            return refusal
        socket = web.WebSocketResponse(timeout=0.1, max_msg_size=64 * 1024 * 1024)
        await socket.prepare(request)
        try:
            if not self.reads:
                assert request.transport is not None
                request.transport.pause_reading()
                await self._stop.wait()
                return socket
            first = await socket.receive()
            if first.type is WSMsgType.TEXT:
                self.messages.append(first.data)
                await self.talk(socket, first.data)
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        self.messages.append(message.data)
        except ConnectionError:
            pass  # a client that goes away is what many tests are about
        finally:
            self.closed.set()
        return socket


async def cut(socket: web.WebSocketResponse) -> None:
    """Close the connection under the WebSocket, without a farewell."""
    socket.get_extra_info("socket").shutdown(SHUT_RDWR)
