"""An application behind the server as it runs, and a caller that says whatever it likes, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop

from llmadmin.http import HttpProtocol

HOST = b"Host: here\r\n"
GET = b"GET %b HTTP/1.1\r\n" + HOST + b"%b\r\n"
CHUNKED = b"POST /say HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
POST = b"POST %b HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n%b\r\n%b"


class Application:
    """Does what the path says; `gone` is set when a caller has left, `go` lets waiting answers go on."""

    def __init__(self) -> None:
        self.gone, self.waits, self.go = threading.Event(), threading.Event(), threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await getattr(self, scope["path"].strip("/"))(scope, receive, send)

    async def say(self, scope: Any, receive: Any, send: Any) -> None:
        """What the request was, whole."""
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        text = f"{scope['method']} {scope['query_string'].decode()} {len(body)} {body[:20].decode()}".encode()
        await self._answer(send, text)

    async def headers(self, scope: Any, receive: Any, send: Any) -> None:
        """Those of the request, once all of it has come."""
        while (await receive())["more_body"]:
            pass
        await self._answer(send, b"\n".join(b"%b: %b" % pair for pair in scope["headers"]))

    async def refuse(self, scope: Any, receive: Any, send: Any) -> None:
        """Without looking at the body."""
        await self._answer(send, b"no", status=401)

    async def pieces(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def much(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(300):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await send({"type": "http.response.body"})

    async def too_much(self, scope: Any, receive: Any, send: Any) -> None:
        """Until the caller leaves; it never takes anything."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        left = asyncio.ensure_future(receive())
        while not left.done():
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        self.gone.set()

    async def wait(self, scope: Any, receive: Any, send: Any) -> None:
        """Until the caller leaves, or `go`."""
        await receive()
        left = asyncio.ensure_future(receive())
        self.waits.set()
        going = asyncio.get_running_loop().run_in_executor(None, self.go.wait, 10)
        await asyncio.wait([left, going], return_when=asyncio.FIRST_COMPLETED)
        if left.done() and left.result()["type"] == "http.disconnect":
            self.gone.set()
            self.go.set()
        left.cancel()
        await self._answer(send, b"waited")

    async def fail(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("on purpose")

    async def begin_and_fail(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("on purpose")

    async def break_off(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async def lie(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"5")]})
        await send({"type": "http.response.body", "body": b"much longer"})

    async def inject(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-a", b"b\r\nset-cookie: c"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def _answer(self, send: Any, body: bytes, *, status: int = 200) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def running(
    app: Any,
    *,
    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    protocol: type[HttpProtocol] = HttpProtocol,
    **options: Any,
) -> Iterator[tuple[str, int, uvicorn.Server]]:
    config = uvicorn.Config(app, "127.0.0.1", 0, http=protocol, ws="none", lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    started = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        asyncio.get_running_loop().call_soon(started.set)
        await server.serve([listening])

    def run() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(20)
    host, port = listening.getsockname()
    try:
        yield host, port, server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def connected(place: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(place[:2], 10) as caller:
        yield caller


def read(caller: socket.socket, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
    """One answer: status, headers and body, which keeps its chunks; raises EOFError if it does not come to its end."""
    with caller.makefile("rb", buffering=0) as file:  # which takes nothing of the answer after it
        lines = []
        while line := file.readline().rstrip(b"\r\n").decode("latin-1"):
            lines.append(line)
        status = int(lines[0].split(" ")[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        body = b""
        if head or status in (100, 204):
            return status, headers, body
        length = int(headers["content-length"]) if "content-length" in headers else None
        is_chunked = headers.get("transfer-encoding") == "chunked"
        while not body.endswith(b"0\r\n\r\n") if is_chunked else len(body) != length:
            more = file.read(1 if is_chunked else 65536 if length is None else length - len(body))
            if not more and length is None and not is_chunked:
                break
            if not more:
                raise EOFError(body)
            body += more
        return status, headers, body


def is_closed(caller: socket.socket) -> bool:
    return caller.recv(1) == b""
