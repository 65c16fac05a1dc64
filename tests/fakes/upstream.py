"""A model server of our own on a real socket: OpenAI-shaped, checks the key, counts calls, and misbehaves on request.

    with FakeUpstream(key="sk-right") as upstream:
        upstream.rate_limited("/chat/completions", retry_after="7")
        ...
        assert upstream.calls["/chat/completions"] == 1

Paths are those under the base URL (`upstream.url`, which ends in /v1).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.fakes.answers import ANSWERS

KEY = "sk-fake-0123456789abcdef"
MODELS = ("fake-chat", "fake-vision", "fake-embedding", "fake-rerank", "fake-asr", "fake-tts")


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[["Handler"], None]


class FakeUpstream:
    """`key=None` takes any key or none. `certificate` is (certificate file, key file) for TLS."""

    def __init__(
        self,
        *,
        key: str | None = KEY,
        models: Iterable[str] = MODELS,
        dimensions: int = 4,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.key = key
        self.models = list(models)
        self.dimensions = dimensions
        self.calls: Counter[str] = Counter()
        self.requests: list[Received] = []
        self.connections = 0
        self.closing = threading.Event()
        self._behaviours: dict[str, Behaviour] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.fake = self
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.tls = context
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def root(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def total_calls(self) -> int:
        return sum(self.calls.values())

    def start(self) -> FakeUpstream:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> FakeUpstream:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # What it can be told. The last word for a path counts; `well` takes it back.

    def well(self, path: str) -> None:
        self._behaviours.pop(path, None)

    def behave(self, path: str, behaviour: Behaviour) -> None:
        """Anything: the behaviour gets the handler, whose `request_now` is the request."""
        self._behaviours[path] = behaviour

    def status(self, path: str, status: int, data: Any = None, **headers: str) -> None:
        """Answer any status with any JSON; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._behaviours[path] = lambda handler: handler.json(data, status=status, headers=named)

    def raw(
        self, path: str, body: bytes, *, status: int = 200, content_type: str = "text/plain", **headers: str
    ) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._behaviours[path] = lambda handler: handler.reply(status, content_type, body, named)

    def html(self, path: str, *, status: int = 200, title: str = "Welcome to nginx") -> None:
        page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        self.raw(path, page.encode(), status=status, content_type="text/html; charset=utf-8")

    def rate_limited(self, path: str, *, retry_after: str = "7") -> None:
        error = {"message": "Rate limit reached for requests", "type": "requests", "code": "rate_limit_exceeded"}
        self.status(path, 429, {"error": error}, Retry_After=retry_after)

    def redirect(self, path: str, to: str, *, status: int = 302) -> None:
        self.raw(path, b"", status=status, Location=to)

    def slow(self, path: str, delay_s: float) -> None:
        """Answer rightly, but late."""

        def late(handler: Handler) -> None:
            if not self.closing.wait(delay_s):
                handler.answer()

        self._behaviours[path] = late

    def hang(self, path: str) -> None:
        """Take the request and never answer."""

        def silent(handler: Handler) -> None:
            self.closing.wait(60)
            handler.close_connection = True

        self._behaviours[path] = silent

    def hang_up(self, path: str) -> None:
        """Take the request and close the connection without an answer."""

        def gone(handler: Handler) -> None:
            handler.close_connection = True

        self._behaviours[path] = gone

    def cut(self, path: str) -> None:
        """Promise a body and close the connection in its middle."""

        def half(handler: Handler) -> None:
            handler.head(200, "application/json", {"Content-Length": "1000"})
            handler.wfile.write(b'{"object": "chat.comple')
            handler.close_connection = True

        self._behaviours[path] = half

    def stall(self, path: str) -> None:
        """Begin a body and never end it."""

        def begun(handler: Handler) -> None:
            handler.head(200, "application/json", {"Content-Length": "1000"})
            handler.wfile.write(b"{")
            handler.wfile.flush()
            self.closing.wait(60)
            handler.close_connection = True

        self._behaviours[path] = begun

    def endless(self, path: str) -> None:
        """A body that never stops coming."""

        def flood(handler: Handler) -> None:
            handler.close_connection = True
            handler.head(200, "application/json", {})
            while not self.closing.is_set():
                handler.wfile.write(b" " * 65536)

        self._behaviours[path] = flood

    # Called by the handler's thread.

    def connected(self) -> None:
        with self._lock:
            self.connections += 1

    def received(self, request: Received) -> Behaviour | None:
        with self._lock:
            self.calls[request.path] += 1
            self.requests.append(request)
        return self._behaviours.get(request.path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False
    fake: FakeUpstream
    tls: ssl.SSLContext | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        return None  # a client that goes away is what many tests are about


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    request_now: Received

    def setup(self) -> None:
        self.server.fake.connected()
        self.request.settimeout(60)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.tls is not None:
            self.request.close()

    def log_message(self, format: str, *args: Any) -> None:
        return None

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_now = Received(self.command, path.removeprefix("/v1"), query, headers, body)
        behaviour = self.server.fake.received(self.request_now)
        if behaviour is not None:
            behaviour(self)
            return
        try:
            self.answer()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # as servers do with nonsense
            self.json({"error": {"message": "What is that?", "type": "invalid_request_error"}}, status=400)

    def answer(self) -> None:
        """What a healthy server answers."""
        fake, request = self.server.fake, self.request_now
        sent = request.headers.get("authorization", "")
        if fake.key is not None and sent != f"Bearer {fake.key}":
            said = f"Incorrect API key provided: {sent.removeprefix('Bearer ')}."
            error = {"message": said, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
            self.json({"error": error}, status=401)
            return
        operation = ANSWERS.get((request.method, request.path))
        if operation is None:
            said = f"Invalid URL ({request.method} {self.path})"
            self.json({"error": {"message": said, "type": "invalid_request_error", "code": None}}, status=404)
            return
        operation(self, fake, request)

    def json(self, data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.reply(status, "application/json", json.dumps(data).encode(), headers or {})

    def reply(self, status: int, content_type: str, body: bytes, headers: dict[str, str]) -> None:
        self.head(status, content_type, {"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
