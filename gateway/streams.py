"""A streamed answer over HTTP: server-sent events, kept alive while the model thinks, or sound; ended when the caller
leaves.

Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import asyncio

import orjson
from django.conf import settings

from core.ticker import Ticker
from gateway import meter
from gateway.asgi import Receive, Send, begin
from gateway.call import Call
from gateway.errors import GatewayError
from gateway.pipeline import Engine
from gateway.sound import open_sound
from gateway.targets import EVENTS, open_bytes
from providers.wire import Operation

COMMENT = b": keep-alive\n\n"
LOOKED_FOR_AFTER_S = 0.5  # most answers are there before it is worth asking whether anybody still waits


async def send_stream(engine: Engine, call: Call, receive: Receive, send: Send) -> None:
    """Raises GatewayError as long as nothing was sent. Later, an error is the last event; where there are no events,
    the answer is left without its end, so that the server breaks the connection."""
    writer = _Writer(call, send)
    with WhileThere(receive, writer.ticker):
        try:
            streaming = await engine.stream(call, open_bytes if call.operation is Operation.CHAT else open_sound)
            try:
                writer.headers = streaming.headers
                if streaming.media_type is not EVENTS:
                    writer.media_type = streaming.media_type
                    writer.headers |= meter.cost_header(meter.cost(call, meter.of_input(call)))
                async for piece in streaming:
                    await writer.write(piece)
                await writer.write(streaming.end, last=True)
            finally:
                await streaming.close()
        except GatewayError as error:
            if not writer.has_begun:
                raise
            if writer.media_type is EVENTS:
                await writer.write(b"data: %b\n\n" % orjson.dumps(error.as_data()), last=True)
        finally:
            writer.stop()


class _Writer:
    """Writes events, and a comment whenever there was nothing to write for a while; or sound, and no comments."""

    def __init__(self, call: Call, send: Send) -> None:
        self.has_begun = False
        self.headers: dict[str, str] = {}
        self.media_type = EVENTS
        self._call, self._send = call, send
        self._loop = asyncio.get_running_loop()
        self._every_s = settings.GATEWAY_KEEPALIVE_S
        self._written_at = self._loop.time()
        self._saying: asyncio.Task[None] | None = None
        self._writing = 0
        self.ticker = Ticker.running()
        self._slot = 0
        if call.operation is not Operation.SPEECH:
            self._slot = self.ticker.call_after(self._every_s, self, self._tick)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        self._writing += 1
        try:
            if not self.has_begun:
                await self._begin()
            self._written_at = self._loop.time()
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        finally:
            self._writing -= 1

    def stop(self) -> None:
        self.ticker.cancel(self._slot, self)
        if self._saying is not None:
            self._saying.cancel()

    async def _begin(self) -> None:
        self.has_begun = True
        await begin(
            self._send,
            200,
            {
                "content-type": self.media_type,
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                "x-request-id": self._call.request_id,
                **self.headers,
            },
        )

    def _tick(self) -> None:
        quiet_s = self._loop.time() - self._written_at
        if quiet_s >= self._every_s - 0.01:
            if not self._writing:  # or else the caller has yet to take what there is, and nothing may follow the last
                self._saying = self._loop.create_task(self.write(COMMENT))
            quiet_s = 0.0
        self._slot = self.ticker.call_after(self._every_s - quiet_s, self, self._tick)


class WhileThere:
    """Cancels what is inside as soon as the caller has left, and then ends quietly."""

    __slots__ = ("_left", "_receive", "_slot", "_task", "_ticker", "_watcher")

    def __init__(self, receive: Receive, ticker: Ticker) -> None:
        self._receive, self._ticker = receive, ticker
        self._left = False
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._slot = self._ticker.call_after(LOOKED_FOR_AFTER_S, self, self._look)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self._ticker.cancel(self._slot, self)
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
