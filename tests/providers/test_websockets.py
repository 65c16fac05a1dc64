"""One exchange over a WebSocket, with a real server on a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from aiohttp import web

from core.netguard import parse_networks
from providers.errors import AddressBlocked, BadReply, TimedOut, Unreachable, UpstreamError
from providers.upstream import Policy, Pool, send
from providers.wire import SocketRequest, UpstreamResponse
from tests.fakes.asking import LOOPBACK, POLICY, SHORT
from tests.fakes.websockets import FakeWebSocket, cut

SOON = Policy(LOOPBACK, connect_timeout_s=2, total_timeout_s=2)


def ask(
    url: str,
    policy: Policy = POLICY,
    body: bytes | None = b'{"text": "Hi"}',
    is_last: Callable[[str], bool] = lambda message: "last" in message,
) -> UpstreamResponse:
    request = SocketRequest("GET", url, {"User-Agent": "llmadmin"}, body, is_last=is_last)
    return asyncio.run(send(request, policy))


def fail(kind: type[UpstreamError], url: str, policy: Policy = POLICY, body: bytes | None = b"{}") -> UpstreamError:
    with pytest.raises(kind) as caught:
        ask(url, policy, body)
    assert type(caught.value) is kind
    return caught.value


async def two(socket: web.WebSocketResponse, said: str) -> None:
    await socket.send_str('{"a":\n 1}')
    await socket.send_str('{"last": true}')


def test_messages_go_out_line_by_line_and_come_back_as_lines() -> None:
    with FakeWebSocket(two) as fake:
        response = ask(f"{fake.url}/v2/tts?a=b%2Fc", body=b'{"n": 1}\n{"n": 2}\n')
        assert fake.closed.wait(30)
    assert response.status == 200
    assert response.body == b'{"a":  1}\n{"last": true}'
    assert response.headers["upgrade"].lower() == "websocket"
    assert fake.messages == ['{"n": 1}', '{"n": 2}']
    opened = fake.opened[0]
    assert opened.raw_path == "/v2/tts?a=b%2Fc"
    assert opened.headers["User-Agent"] == "llmadmin"
    assert opened.headers["Host"] == f"127.0.0.1:{fake.port}"


def test_nobody_waits_after_the_last_message() -> None:
    with FakeWebSocket(two) as fake:  # which keeps the connection open
        policy = Policy(LOOPBACK, connect_timeout_s=5, total_timeout_s=60)
        assert ask(fake.url, policy).latency_ms < 30_000
        assert fake.closed.wait(30)


def test_an_upstream_that_closes_has_said_all() -> None:
    async def talk(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_str("one")
        await socket.close()

    with FakeWebSocket(talk) as fake:
        assert ask(fake.url).body == b"one"


def test_a_connection_that_is_cut_is_a_bad_reply() -> None:
    async def talk(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_str("one")
        await cut(socket)

    with FakeWebSocket(talk) as fake:
        error = fail(BadReply, fake.url)
    assert error.step == "body"
    assert "cut off" in error.message


def test_an_upstream_that_closes_without_a_word_or_with_an_error_is_a_bad_reply() -> None:
    async def mute(socket: web.WebSocketResponse, said: str) -> None:
        await socket.close()

    async def angry(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_str("one")
        await socket.close(code=1011)

    for talk in (mute, angry):
        with FakeWebSocket(talk) as fake:
            assert fail(BadReply, fake.url).step == "body"


def test_silence_times_out_at_the_step_it_was_at() -> None:
    async def silent(socket: web.WebSocketResponse, said: str) -> None:
        return None

    async def stuck(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_str("one")

    with FakeWebSocket(silent) as fake:
        assert fail(TimedOut, fake.url, SHORT).step == "headers"
    with FakeWebSocket(stuck) as fake:
        assert fail(TimedOut, fake.url, SOON).step == "body"
        impatient = Policy(LOOPBACK, connect_timeout_s=5, total_timeout_s=60, idle_timeout_s=0.2)
        assert "0.2" in fail(TimedOut, fake.url, impatient).message
    with FakeWebSocket(silent) as fake:
        impatient = Policy(LOOPBACK, connect_timeout_s=5, total_timeout_s=60, first_byte_timeout_s=0.2)
        assert fail(TimedOut, fake.url, impatient).step == "headers"
    with FakeWebSocket(silent, reads=False) as fake:
        assert fail(TimedOut, fake.url, SOON, body=b"x" * 40_000_000).step == "send"
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert fail(TimedOut, f"ws://127.0.0.1:{deaf.getsockname()[1]}", SHORT).step == "headers"
        assert fail(TimedOut, f"wss://127.0.0.1:{deaf.getsockname()[1]}", SHORT).step == "tls"


def test_what_is_larger_than_allowed_is_refused_in_one_message_or_in_many() -> None:
    async def much(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_str("x" * 5000)

    async def many(socket: web.WebSocketResponse, said: str) -> None:
        while not socket.closed:
            await socket.send_str("x" * 100)

    policy = Policy(LOOPBACK, max_body_bytes=4999)
    for talk in (much, many):
        with FakeWebSocket(talk) as fake:
            error = fail(BadReply, fake.url, policy)
            assert error.step == "body"
            assert "4999" in error.message
    with FakeWebSocket(much) as fake:
        exact = Policy(LOOPBACK, max_body_bytes=5000)
        assert len(ask(fake.url, exact, is_last=lambda message: True).body) == 5000


def test_what_is_not_text_is_a_bad_reply() -> None:
    async def binary(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_bytes(b"\0")

    with FakeWebSocket(binary) as fake:
        assert fail(BadReply, fake.url).step == "body"


@pytest.mark.parametrize("status", [302, 401, 403, 500])
def test_a_refusal_in_http_is_handed_on_with_its_words(status: int) -> None:
    def refuse(request: web.Request) -> web.Response:
        headers = {"Location": "http://127.0.0.1:1/elsewhere"}
        return web.json_response({"message": "no"}, status=status, headers=headers)

    with FakeWebSocket(two, refuse=refuse) as fake:
        response = ask(fake.url)
        assert (response.status, response.body) == (status, b'{"message": "no"}')
        assert response.headers["content-type"].startswith("application/json")
        assert len(fake.opened) == 1


def test_a_long_refusal_is_cut() -> None:
    with FakeWebSocket(two, refuse=lambda request: web.Response(status=403, text="x" * 10_000_000)) as fake:
        assert 0 < len(ask(fake.url).body) <= 64 * 1024


def test_a_server_that_knows_no_websockets_is_a_bad_reply() -> None:
    with FakeWebSocket(two, refuse=lambda request: web.Response(text="<h1>Welcome</h1>")) as fake:
        assert fail(BadReply, fake.url).step == "headers"

    def half(request: web.Request) -> web.Response:
        return web.Response(status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    with FakeWebSocket(two, refuse=half) as fake:  # the handshake lacks its proof
        assert fail(BadReply, fake.url).step == "headers"


def test_what_hangs_up_or_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def hang_up() -> None:
            with suppress(TimeoutError):  # an opening request is idempotent, so it may be tried once more
                for _ in range(2):
                    server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert fail(Unreachable, f"ws://127.0.0.1:{server.getsockname()[1]}").step == "headers"
        thread.join()
        port = server.getsockname()[1]
    assert fail(Unreachable, f"ws://127.0.0.1:{port}").step == "connect"
    assert fail(Unreachable, "wss://no-such-host.invalid").step == "dns"


def test_only_approved_networks_are_reached() -> None:
    with FakeWebSocket(two) as fake:
        assert fail(AddressBlocked, fake.url, Policy()).step == "connect"
        assert fail(AddressBlocked, fake.url, Policy(parse_networks(["10.0.0.0/8"]))).step == "connect"
        assert fail(AddressBlocked, f"ws://localhost:{fake.port}", Policy()).step == "connect"
        assert fake.opened == []


def test_errors_never_repeat_a_header_or_a_query() -> None:
    async def gone(socket: web.WebSocketResponse, said: str) -> None:
        await cut(socket)

    with FakeWebSocket(gone) as fake:
        for url in (f"{fake.url}/x?authorization=canary", "ws://127.0.0.1:1/?authorization=canary"):
            with pytest.raises(UpstreamError) as caught:
                ask(url)
            assert "canary" not in repr(vars(caught.value)) + str(caught.value)
            assert caught.value.__cause__ is None


def test_a_pool_serves_both_and_nothing_is_left_open() -> None:
    async def many(url: str) -> None:
        async with Pool() as pool:
            request = SocketRequest("GET", url, {}, b"{}", is_last=lambda message: "last" in message)
            answers = await asyncio.gather(*(send(request, POLICY, pool=pool) for _ in range(20)))
            assert {answer.status for answer in answers} == {200}

    with FakeWebSocket(two) as fake:
        asyncio.run(many(fake.url))  # an unclosed session or socket would warn, and a warning is an error here


def test_a_request_shows_neither_its_query_nor_its_messages() -> None:
    request = SocketRequest("GET", "wss://h/v2?authorization=canary", {"X": "canary"}, b"canary")
    assert "canary" not in repr(request) + str(request)
    assert (request.origin, request.host) == ("https://h:443", "h")
    assert SocketRequest("GET", "ws://[::1]:8080/").host == "[::1]:8080"
