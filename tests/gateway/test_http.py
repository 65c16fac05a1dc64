"""HTTP as it is spoken to a real server: methods, encodings, connections that are kept."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.test_workers import MAKE, serving
from tests.live.stack import Stack

pytestmark = pytest.mark.once

CHAT = "/v1/chat/completions"
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[int, str, Stack]]:
    """The port of a started server, a token for it, and its installation."""
    place = Stack(env={"LOG_LEVEL": "DEBUG"}, prepared_by="migrate")
    try:
        token = place.manage("shell", "-v0", "-c", MAKE).splitlines()[-1]
        with serving(place, count=1) as (url,):
            yield int(url.rpartition(":")[2]), token, place
    finally:
        place.close()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def code(answer: Answer) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["error"]["code"]


UNKNOWN = json.dumps({"model": "nothing", "messages": [{"role": "user", "content": "x"}]}).encode()


def test_a_connection_is_kept_through_every_kind_of_error(door: tuple[int, str, Stack]) -> None:
    port, token, _ = door
    mine = {"Authorization": f"bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    kept = connection.sock
    status, _, body = ask(connection, "GET", "/v1/models", **mine)
    assert (status, json.loads(body)["data"][0]["id"]) == (200, "m@Acme"), "a scheme is written in any case"
    assert ask(connection, "GET", "/v1/models/", **mine)[0] == 200
    assert code(ask(connection, "POST", CHAT, UNKNOWN, **mine)) == (404, "model_not_found")
    assert code(ask(connection, "POST", CHAT + "/", UNKNOWN, **mine)) == (404, "model_not_found")
    assert code(ask(connection, "POST", CHAT, b"{", **mine)) == (400, "invalid_request")
    assert code(ask(connection, "POST", CHAT, UNKNOWN * 2000, **{**mine, "Authorization": "Bearer sk-x"}))[0] == 401
    assert code(ask(connection, "POST", CHAT, iter([UNKNOWN[:9], UNKNOWN[9:]]), **mine)) == (404, "model_not_found")
    assert code(ask(connection, "GET", "/v1/nothing", **mine)) == (404, "unknown_url")
    calls, lists = "POST, OPTIONS", "GET, HEAD, OPTIONS"
    for method, path, status, allowed in (
        ("GET", CHAT, 405, calls),
        ("DELETE", "/v1/models", 405, lists),
        ("OPTIONS", CHAT, 204, calls),
        ("OPTIONS", "/v1/models", 204, lists),
    ):
        told = ask(connection, method, path)
        assert (told[0], told[1]["allow"]) == (status, allowed)
    listed = ask(connection, "GET", "/v1/models", **mine)
    status, headers, body = ask(connection, "HEAD", "/v1/models", **mine)
    assert (status, body, headers["content-length"]) == (200, b"", str(len(listed[2])))
    assert ask(connection, "HEAD", "/v1/nothing", **mine)[::2] == (404, b"")
    assert ask(connection, "HEAD", "/v1/models")[::2] == (401, b"")
    assert ask(connection, "GET", "/v1/models", **mine)[0] == 200
    assert connection.sock is kept, "none of it closed the connection"
    connection.close()


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_request_is_refused_clearly(door: tuple[int, str, Stack], encoding: str) -> None:
    port, token, _ = door
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Encoding": encoding}
    refused = ask(connection, "POST", CHAT, gzip.compress(UNKNOWN), **headers)
    assert code(refused) == (415, "invalid_request")
    assert refused[1]["accept-encoding"] == "identity"
    assert code(ask(connection, "POST", CHAT, UNKNOWN, **{**headers, "Content-Encoding": "identity"}))[0] == 404
    connection.close()


def test_who_asks_whether_to_continue_is_told_to(door: tuple[int, str, Stack]) -> None:
    port, token, _ = door
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(f"{head}Content-Length: {len(UNKNOWN)}\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 100")
        sock.sendall(UNKNOWN)
        assert sock.recv(4096).startswith(b"HTTP/1.1 404")


def test_of_a_key_that_is_given_twice_the_last_counts(door: tuple[int, str, Stack]) -> None:
    port, token, _ = door
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = b'{"model": "m@Acme", "model": "nothing", "messages": []}'
    assert code(ask(connection, "POST", CHAT, body, Authorization=f"Bearer {token}")) == (404, "model_not_found")
    connection.putrequest("POST", CHAT)
    for _ in range(2):
        connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.read() != b"") == (401, True), "two tokens are none"
    connection.close()


def test_neither_bodies_nor_logs_say_a_token(door: tuple[int, str, Stack]) -> None:
    port, token, place = door
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    mine = {"Authorization": f"Bearer {token}"}
    strayed = json.dumps({"model": token, "messages": []}).encode()
    for method, path, body, headers in (
        ("POST", CHAT, strayed, mine),
        ("GET", f"/v1/models/{token}", None, mine),
        ("GET", f"/v1/{token}", None, mine),
        ("GET", "/v1/models", None, {"Authorization": token}),
        ("GET", "/v1/models", None, {"Authorization": f"Bearer {token}x"}),
        ("POST", CHAT, f'{{"model": "{token}'.encode(), mine),
        ("GET", "/v1/models", None, {**mine, "X-Request-Id": token}),
    ):
        answer = ask(connection, method, path, body, **headers)
        assert token.encode() not in answer[2] + json.dumps(answer[1]).encode(), (method, path)
    assert token not in place.log()
    connection.close()
