"""What callers may not do: whatever another server might read otherwise, or what would cost us without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from llmadmin.http import MAX_HEAD_BYTES, MAX_WAITING, HttpProtocol
from tests.fakes.http import CHUNKED, GET, HOST, POST, Application, connected, is_closed, read, running


@pytest.fixture(scope="module")
def app() -> Application:
    return Application()


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def place(app: Application, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with running(app, loop=request.param, timeout_keep_alive=30) as (host, port, _):
        yield host, port


def test_the_body_of_a_request_for_an_upgrade_is_no_request(place: tuple[str, int]) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    hidden = GET % (b"/refuse", b"")
    with connected(place) as caller:
        for apart in (False, True):
            whole = POST % (b"/say", len(hidden), upgrade, hidden)
            for piece in (whole[: -len(hidden)], hidden) if apart else (whole,):
                caller.sendall(piece)
            assert read(caller)[2] == b"POST  %d %b" % (len(hidden), hidden[:20])
        chunked = CHUNKED.replace(b"\r\n\r\n", b"\r\n" + upgrade + b"\r\n")
        caller.sendall(chunked + b"3\r\nabc\r\n0\r\n\r\n" + GET % (b"/say", b""))
        assert read(caller)[2] == b"POST  3 abc"
        assert read(caller)[2] == b"GET  0 "


def test_many_requests_for_an_upgrade_may_come_together(place: tuple[str, int]) -> None:
    upgrade = b"GET /say HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    with connected(place) as caller:
        caller.sendall(upgrade * 3000)
        assert read(caller)[0] == 200


def test_trailers_are_no_headers(place: tuple[str, int]) -> None:
    said = CHUNKED.replace(b"/say", b"/headers") + b"1\r\na\r\n0\r\nX-Forwarded-For: 10.9.8.7\r\n\r\n"
    with connected(place) as caller:
        for _ in range(2):
            caller.sendall(said)
            assert read(caller)[2] == b"host: here\ntransfer-encoding: chunked"


@pytest.mark.parametrize("more", [b"0\r\nX-A: ", b"1;a="], ids=["trailers", "extensions"])
def test_what_is_no_body_has_a_limit_within_a_body(more: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(CHUNKED.replace(HOST, b"Expect: 100-continue\r\n"))
        assert read(caller)[0] == 100
        caller.sendall(more + b"a" * MAX_HEAD_BYTES)
        assert read(caller)[0] == 431
        assert is_closed(caller)


def test_a_body_in_many_chunks_is_no_head(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(CHUNKED + b"2\r\nab\r\n" * MAX_HEAD_BYTES + b"0\r\n\r\n")
        assert read(caller)[2].startswith(b"POST  %d abab" % (2 * MAX_HEAD_BYTES))


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity"])
def test_other_transfer_codings_are_refused(coding: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(CHUNKED.replace(b"chunked", coding) + b"0\r\n\r\n")
        assert read(caller)[0] == 501
        assert is_closed(caller)


@pytest.mark.parametrize(
    "line",
    [
        *(b"CONNECT here:80", b"GET here:80", b"GET /\xc3\xa9", b"GET /\0", b"GET /a b", b"get /"),
        *(b"GET / HTTP/1.1\r\nX-A: b\r\n c", b"GET / HTTP/1.1\r\nX-A : b", b"GET / HTTP/1.1\nX-A: b"),
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        *(b"POST / HTTP/1.1\r\nContent-Length: +1", b"POST / HTTP/1.1\r\nContent-Length: 1, 1"),
    ],
)
def test_what_two_servers_may_read_differently_is_refused(line: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall((line if b"HTTP/1.1" in line else line + b" HTTP/1.1") + b"\r\nHost: here\r\n\r\n")
        assert read(caller)[0] == 400
        assert is_closed(caller)


def test_of_too_many_requests_at_once_the_first_are_answered(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(GET % (b"/say", b"") * (MAX_WAITING * 3))
        heads: list[dict[str, str]] = []
        while not heads or "connection" not in heads[-1]:
            status, headers, _ = read(caller)
            heads.append(headers)
            assert status == 200
        assert len(heads) == MAX_WAITING + 1


@pytest.mark.parametrize(
    "said",
    [b"nonsense\r\n\r\n", POST % (b"/say", 1, b"Content-Length: 2\r\n", b""), b"GET / HTTP/1.1\r\nHost here\r\n\r\n"],
)
def test_what_is_no_request_gets_400(said: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(said)
        status, headers, _ = read(caller)
        assert (status, headers["connection"]) == (400, "close")
        assert is_closed(caller)


def test_what_was_asked_before_nonsense_is_answered(place: tuple[str, int], app: Application) -> None:
    app.go.clear()
    app.waits.clear()
    with connected(place) as caller:
        caller.sendall(GET % (b"/wait", b""))
        assert app.waits.wait(10)
        caller.sendall(GET % (b"/say", b"") + b"nonsense\r\n\r\n")
        app.go.set()
        got = b""
        while more := caller.recv(65536):
            got += more
        assert got.index(b"waited") < got.index(b"GET  0") < got.index(b"400 Bad Request")


def test_a_body_that_breaks_its_framing_gets_400(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(CHUNKED + b"zz\r\n")
        assert read(caller)[0] == 400
        assert is_closed(caller)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_has_no_end_is_refused(end: bytes, place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(b"GET /say HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * (MAX_HEAD_BYTES + 1) + end)
        assert read(caller)[0] == 431
        assert is_closed(caller)


def test_nothing_follows_the_answer_to_a_body_that_breaks_later(place: tuple[str, int]) -> None:
    with connected(place) as caller:
        caller.sendall(CHUNKED.replace(b"/say", b"/refuse"))
        assert read(caller)[0] == 401
        caller.sendall(b"zz\r\n")
        assert is_closed(caller)


class Hasty(HttpProtocol):
    head_within_s = stalls_for_s = 0.05


@pytest.mark.parametrize("said", [b"", b"GET /say HT", GET % (b"/say", b"") + b"GET /", GET % (b"/say", b"") + b"\r\n"])
def test_a_head_must_come_in_time(said: bytes, app: Application) -> None:
    with running(app, timeout_keep_alive=0.02, protocol=Hasty) as place, connected(place[:2]) as caller:
        caller.sendall(said)
        if said.startswith(GET % (b"/say", b"")):
            assert read(caller)[0] == 200
        assert is_closed(caller)


def test_a_body_must_come_in_time(app: Application) -> None:
    with running(app, timeout_keep_alive=0.02, protocol=Hasty) as place:
        for path, status in ((b"/say", 408), (b"/refuse", 401)):
            with connected(place[:2]) as caller:
                caller.sendall(POST % (path, 5, b"", b"he"))
                assert read(caller)[0] == status
                assert is_closed(caller)


def test_a_caller_must_take_its_answer_in_time(app: Application) -> None:
    with running(app, timeout_keep_alive=0.02, protocol=Hasty) as place, connected(place[:2]) as caller:
        app.gone.clear()
        caller.sendall(GET % (b"/too_much", b""))
        assert app.gone.wait(10)


def test_a_body_that_does_not_come_takes_no_earlier_answer_away(app: Application) -> None:
    app.go.clear()
    app.waits.clear()
    with running(app, timeout_keep_alive=0.02, protocol=Hasty) as place, connected(place[:2]) as caller:
        caller.sendall(GET % (b"/wait", b"") + POST % (b"/say", 5, b"", b"he"))
        assert app.waits.wait(10)
        caller.settimeout(0.3)  # long enough for its time to be over more than once
        with pytest.raises(TimeoutError):
            caller.recv(1)
        caller.settimeout(10)
        app.go.set()
        assert read(caller)[2] == b"waited"
        assert read(caller)[0] == 408
        assert is_closed(caller)
