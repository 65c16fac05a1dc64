"""A server that knows no HTTP: it says what it is told, byte by byte and at any pace, and sees what a client does.

async def talk(peer): await peer.request(); peer.say(b"HTTP/1.1 200 OK\r\n..."); ...
async with RawServer(talk) as server: ...      # in the loop of the test
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

WAIT_S = 20


class Peer:
    """One connection as the server sees it. `number` counts them from 0."""

    def __init__(self, server: RawServer, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.server, self.number, self.reader, self.writer = server, number, reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request; raises EOFError if the client goes away instead."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        body = await self.reader.readexactly(length)
        self.server.requests.append((head, body))
        return head, body

    def say(self, data: bytes) -> None:
        """Raises ConnectionError if nobody is there any more."""
        if self.writer.is_closing():
            raise ConnectionError
        self.writer.write(data)

    async def say_slowly(self, pieces: list[bytes]) -> None:
        """Piece by piece, each in a packet of its own."""
        for piece in pieces:
            self.say(piece)
            await asyncio.sleep(0.001)

    async def gone(self) -> None:
        """Return when the client has closed the connection."""
        with suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(65536), WAIT_S):
                pass

    def hang_up(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Break the connection without a farewell."""
        made = self.writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Talk = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Runs `talk` for each connection, and hangs up after it."""

    def __init__(self, talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.talk, self.tls, self.host = talk, tls, host
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"

    async def __aenter__(self) -> RawServer:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(self, self.connections, reader, writer)
        self.connections += 1
        try:
            await self.talk(peer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # a client that goes away is what many tests are about, and so is a test that is over
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)


def answering(*answers: bytes) -> Talk:
    """Give these answers, one for each request on a connection, and then the last one for ever."""

    async def talk(peer: Peer) -> None:
        given = 0
        while True:
            await peer.request()
            peer.say(answers[min(given, len(answers) - 1)])
            given += 1

    return talk


def whole(body: bytes = b"{}", *headers: str, status: int = 200) -> bytes:
    """An answer whose length is said."""
    said = "".join(f"{header}\r\n" for header in (f"Content-Length: {len(body)}", *headers))
    return f"HTTP/1.1 {status} Some Words\r\n{said}\r\n".encode("latin-1") + body


def chunked(pieces: list[bytes], *, trailers: bytes = b"") -> bytes:
    """The chunks of a body, without the headers before them."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n" + trailers + b"\r\n"
