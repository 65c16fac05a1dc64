"""Real sockets on both sides: the server as it runs, and a caller that says whatever it likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvloop

from tests.fakes import servers
from tests.fakes.http import GET, HOST, POST, Application, connected, is_closed, read, running
from tests.providers.test_upstream_interop import exercise


@pytest.fixture(scope="module")
def app() -> Application:
    return Application()


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def place(app: Application, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with running(app, loop=request.param, timeout_keep_alive=30) as (host, port, _):
        yield host, port


def test_one_connection_carries_many_requests(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        for number in range(3):
            caller.sendall(POST % (b"/say?n=%d" % number, 5, b"", b"hello"))
            status, headers, body = read(caller)
            assert (status, body) == (200, b"POST n=%d 5 hello" % number)
            assert "date" in headers
            assert "connection" not in headers


def test_a_request_may_come_in_any_pieces(place: tuple[str, int]) -> None:
    whole = POST % (b"/say", 5, b"X-A: b\r\n", b"hello")
    with connected(place) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            caller.sendall(whole[at : at + 1])
        assert read(caller)[2] == b"POST  5 hello"


def test_a_large_body_arrives_whole(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(POST % (b"/say", 3_000_000, b"", b"y" * 3_000_000))
        assert read(caller)[2].startswith(b"POST  3000000 yyy")


def test_a_chunked_body_arrives_whole(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(
            b"POST /say HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert read(caller)[2] == b"POST  5 abcde"


def test_requests_that_come_together_are_answered_in_their_order(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(b"".join(POST % (b"/say?n=%d" % number, 2, b"", b"%02d" % number) for number in range(20)))
        got = b""
        while got.count(b"POST n=") < 20:
            got += caller.recv(65536)
        assert [got.find(b"POST n=%d 2 %02d" % (number, number)) for number in range(20)] == sorted(
            got.find(b"POST n=%d 2 %02d" % (number, number)) for number in range(20)
        )
        assert b"POST n=19 2 19" in got


def test_an_answer_without_a_length_is_chunked(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        for _ in range(2):
            caller.sendall(GET % (b"/pieces", b""))
            status, headers, body = read(caller)
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_http_1_0_has_no_chunks_and_one_request(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(b"GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        status, headers, body = read(caller)
        assert (status, body) == (200, b"onetwo")
        assert headers["connection"] == "close"
        assert "transfer-encoding" not in headers


@pytest.mark.parametrize(("path", "status"), [(b"/say", 200), (b"/pieces", 200), (b"/nothing", 204)])
def test_head_and_204_have_no_body(path: bytes, status: int, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        for _ in range(2):
            caller.sendall(b"HEAD %b HTTP/1.1\r\n%b\r\n" % (path, HOST))
            got, headers, _ = read(caller, head=True)
            assert got == status
            assert "transfer-encoding" not in headers


def test_a_caller_who_asks_first_is_told_to_go_on(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(POST % (b"/say", 5, b"Expect: 100-continue\r\n", b""))
        assert read(caller)[0] == 100
        caller.sendall(b"hello")
        assert read(caller)[2] == b"POST  5 hello"


def test_an_answer_may_come_before_the_body(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(POST % (b"/refuse", 200_000, b"", b""))
        assert read(caller)[0] == 401
        caller.sendall(b"z" * 200_000 + POST % (b"/say", 2, b"", b"hi"))
        assert read(caller)[2] == b"POST  2 hi"


def test_a_caller_who_is_never_told_to_go_on_need_not_send_its_body(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(POST % (b"/refuse", 200_000, b"Expect: 100-continue\r\n", b""))
        status, headers, _ = read(caller)
        assert (status, headers["connection"]) == (401, "close")
        assert is_closed(caller)


def test_a_connection_is_closed_where_the_caller_wants_it(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(POST % (b"/say", 2, b"Connection: close\r\n", b"hi") + b"more")
        status, headers, _ = read(caller)
        assert (status, headers["connection"]) == (200, "close")
        assert is_closed(caller)


def test_an_upgrade_is_not_made_and_disturbs_nothing(place: tuple[str, int]) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    with connected(place) as caller:
        for _ in range(2):
            caller.sendall(GET % (b"/say?n=1", upgrade))
            assert read(caller)[2] == b"GET n=1 0 "
        caller.sendall(GET % (b"/say?n=1", upgrade) + GET % (b"/pieces", b""))
        assert read(caller)[2] == b"GET n=1 0 "
        assert read(caller)[0] == 200


@pytest.mark.parametrize(
    ("target", "got"), [(b"http://there/say?a", b"a"), (b"//say", b""), (b"/say#b?c", b""), (b"/%73ay?%73", b"%73")]
)
def test_a_target_may_be_written_in_several_ways(target: bytes, got: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (target, b""))
        assert read(caller)[2] == b"GET %b 0 " % got


def test_a_failure_is_told_and_ends_the_connection(place: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (b"/fail", b""))
        status, headers, body = read(caller)
        assert (status, body, headers["connection"]) == (500, b"Internal Server Error", "close")
        assert is_closed(caller)
    assert "Exception in ASGI application" in caplog.text


def test_a_failure_after_the_head_was_given_is_told_as_well(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (b"/begin_and_fail", b""))
        status, headers, body = read(caller)
        assert (status, body, "transfer-encoding" in headers) == (500, b"Internal Server Error", False)
        assert is_closed(caller)


@pytest.mark.parametrize("path", [b"/break_off", b"/lie"])
def test_an_answer_that_is_not_whole_is_not_ended(path: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (path, b""))
        with pytest.raises(EOFError):
            read(caller)


def test_a_header_cannot_bring_another(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (b"/inject", b""))
        status, headers, _ = read(caller)
        assert status == 500
        assert "set-cookie" not in headers


def test_an_answer_waits_for_a_slow_reader(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (b"/much", b""))
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            got += caller.recv(1_000_000)
        assert got.count(b"x") > 300 * 100_000 - 1


def test_an_application_hears_that_its_caller_has_left(place: tuple[str, int], app: Application) -> None:
    app.go.clear()
    app.gone.clear()
    app.waits.clear()
    with connected(place) as caller:
        caller.sendall(GET % (b"/wait", b""))
        assert app.waits.wait(10)
    assert app.gone.wait(10)


def test_an_idle_connection_is_closed_after_its_time(app: Application) -> None:
    with running(app, timeout_keep_alive=0.05) as place, connected(place[:2]) as caller:
        for _ in range(2):
            caller.sendall(GET % (b"/say", b""))
            assert read(caller)[0] == 200
        assert is_closed(caller)


def test_at_the_end_what_runs_is_answered_and_what_idles_is_closed(app: Application) -> None:
    app.go.clear()
    app.waits.clear()
    with running(app) as (host, port, server), connected((host, port)) as busy, connected((host, port)) as idle:
        idle.sendall(GET % (b"/say", b""))
        assert read(idle)[0] == 200
        busy.sendall(GET % (b"/wait", b""))
        assert app.waits.wait(10)
        server.should_exit = True
        assert is_closed(idle)
        app.go.set()
        status, _, body = read(busy)
        assert (status, body) == (200, b"waited")
        assert is_closed(busy)


def test_a_client_of_ours_gets_on_with_it() -> None:
    with running(servers.asgi) as (host, port, _):
        asyncio.run(exercise(f"http://{host}:{port}"))
