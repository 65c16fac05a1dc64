"""A streamed answer over HTTP: server-sent events, kept alive while the model thinks, ended when the caller leaves.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import asyncio

import orjson
from django.conf import settings

from gateway.asgi import Receive, Send, begin
from gateway.call import Call
from gateway.errors import GatewayError
from gateway.pipeline import Engine
from gateway.relay import DONE
from gateway.targets import AsBytes

COMMENT = b": keep-alive\n\n"
LOOKED_FOR_AFTER_S = 0.5  # most answers are there before it is worth asking whether anybody still waits

_as_bytes = AsBytes()


async def send_stream(engine: Engine, call: Call, receive: Receive, send: Send) -> None:
    """Raises GatewayError as long as nothing was sent; later, an error is the last event."""
    writer = _Writer(call, send)
    with WhileThere(receive):
        try:
            streaming = await engine.stream(call, _as_bytes)
            try:
                writer.headers = streaming.headers
                async for piece in streaming:
                    await writer.write(piece)
                await writer.write(DONE, last=True)
            finally:
                await streaming.close()
        except GatewayError as error:
            if not writer.has_begun:
                raise
            await writer.write(b"data: %b\n\n" % orjson.dumps(error.as_data()), last=True)
        finally:
            writer.stop()


class _Writer:
    """Writes events, and a comment whenever there was nothing to write for a while."""

    def __init__(self, call: Call, send: Send) -> None:
        self.has_begun = False
        self.headers: dict[str, str] = {}
        self._call, self._send = call, send
        self._loop = asyncio.get_running_loop()
        self._every_s = settings.GATEWAY_KEEPALIVE_S
        self._written_at = self._loop.time()
        self._timer = self._loop.call_later(self._every_s, self._tick)
        self._saying: asyncio.Task[None] | None = None

    async def write(self, data: bytes, *, last: bool = False) -> None:
        if not self.has_begun:
            await self._begin()
        self._written_at = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    def stop(self) -> None:
        self._timer.cancel()
        if self._saying is not None:
            self._saying.cancel()

    async def _begin(self) -> None:
        self.has_begun = True
        await begin(
            self._send,
            200,
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                "x-request-id": self._call.request_id,
                **self.headers,
            },
        )

    def _tick(self) -> None:
        quiet_s = self._loop.time() - self._written_at
        if quiet_s >= self._every_s - 0.01:
            self._saying = self._loop.create_task(self.write(COMMENT))
            quiet_s = 0.0
        self._timer = self._loop.call_later(self._every_s - quiet_s, self._tick)


class WhileThere:
    """Cancels what is inside as soon as the caller has left, and then ends quietly."""

    __slots__ = ("_left", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOKED_FOR_AFTER_S, self._look)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if kind is not asyncio.CancelledError or not self._left or self._task is None:
            return False
        return self._task.uncancel() <= 0

    def _look(self) -> None:
        self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if self._task is not None:
            self._task.cancel()
