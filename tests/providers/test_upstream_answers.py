"""How answers are framed: whatever a server may send, in whatever pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.errors import BadReply, TimedOut, Unreachable, UpstreamError
from providers.upstream import Policy, Pool, send
from providers.wire import UpstreamRequest, UpstreamResponse
from tests.fakes.asking import LOOPBACK, POLICY
from tests.fakes.raw import Peer, RawServer, answering, chunked, whole

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def told(answer: bytes, method: str = "GET", policy: Policy = POLICY) -> UpstreamResponse:
    """What is made of an answer after which the server hangs up."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(answer)

    async def main() -> UpstreamResponse:
        async with RawServer(talk) as server:
            return await asyncio.wait_for(send(UpstreamRequest(method, server.url), policy), 20)

    return asyncio.run(main())


def refused(answer: bytes, policy: Policy = POLICY) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        told(answer, policy=policy)
    return caught.value


@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_answers_are_passed_over(status: int) -> None:
    interim = f"HTTP/1.1 {status} Wait\r\nLink: </style>; rel=preload\r\n\r\n".encode()
    response = told(interim * 3 + whole(b"hi", "X-A: b"))
    assert (response.status, response.body) == (200, b"hi")
    assert response.headers == {"content-length": "2", "x-a": "b"}


def test_interim_answers_do_not_go_on_for_ever() -> None:
    assert refused(b"HTTP/1.1 100 Wait\r\n\r\n" * 100_000).step == "headers"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("headers", [(), ("Content-Length: 5",)])
def test_some_statuses_have_no_body_whatever_the_headers_say(status: int, headers: tuple[str, ...]) -> None:
    head = f"HTTP/1.1 {status} None\r\n" + "".join(f"{header}\r\n" for header in headers) + "\r\n"
    response = told(head.encode())
    assert (response.status, response.body) == (status, b"")


def test_an_answer_to_head_has_no_body() -> None:
    response = told(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", "HEAD")
    assert (response.status, response.body) == (200, b"")
    assert told(b"HTTP/1.1 200 OK\r\n\r\n", "HEAD").body == b""


def test_a_body_may_end_with_the_connection() -> None:
    assert told(OK + b"\r\nall of it").body == b"all of it"
    assert told(b"HTTP/1.0 200 OK\r\n\r\nall of it").body == b"all of it"
    assert told(OK + b"\r\n").body == b""


def test_chunks_may_have_extensions_and_trailers_which_nobody_reads() -> None:
    assert told(CHUNKED + b'2;a="b;c"\r\nhi\r\n0\r\nContent-Type: a/b\r\nX: y\r\n\r\n').body == b"hi"
    assert "x" not in told(CHUNKED + b"0\r\nX: y\r\n\r\n").headers


def test_a_server_that_speaks_of_upgrades_has_not_upgraded() -> None:
    assert told(whole(b"hi", "Upgrade: h2,h2c", "Connection: Upgrade")).body == b"hi"
    for headers in (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b""):
        assert refused(b"HTTP/1.1 101 Switching\r\n" + headers + b"\r\nxyz").step == "headers"


def test_headers_are_read_as_latin_1_and_of_several_the_last_counts() -> None:
    head = OK + b"X-Said: caf\xe9\r\nX-Twice: a\r\nx-twice: b\r\nX-Empty:\r\nX-Spaced: \t a b\r\n"
    headers = told(head + b"Content-Length: 0\r\n\r\n").headers
    assert headers["x-said"] == "café"
    assert (headers["x-twice"], headers["x-empty"], headers["x-spaced"]) == ("b", "", "a b")


AMBIGUOUS = {
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
    "two lengths in one": OK + b"Content-Length: 2, 3\r\n\r\nhi!",
    "negative": OK + b"Content-Length: -2\r\n\r\nhi",
    "signed": OK + b"Content-Length: +2\r\n\r\nhi",
    "hexadecimal": OK + b"Content-Length: 0x2\r\n\r\nhi",
    "no length": OK + b"Content-Length:\r\n\r\nhi",
    "beyond 64 bits": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\nhi",
    "another coding first": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "another coding last": OK + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
    "a space before the colon": OK + b"Content-Length : 2\r\n\r\nhi",
    "NUL": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nhi",
    "a lone CR": OK + b"X: a\rContent-Length: 2\r\n\r\nhi",
    "no name": OK + b": a\r\nContent-Length: 2\r\n\r\nhi",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of nothing": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "a short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "a long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "another protocol": b"220 mail.example ESMTP\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "HTML": b"<html>hello</html>",
}


@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_cannot_be_framed_beyond_doubt_is_a_bad_reply(answer: bytes) -> None:
    error = refused(answer)
    assert type(error) is BadReply
    assert error.step == "headers"


BROKEN = {
    "length": whole(b"x" * 100)[:-1],
    "nothing of it": whole(b"x" * 100)[:-100],
    "in a chunk": CHUNKED + b"5\r\nhel",
    "between chunks": CHUNKED + b"5\r\nhello\r\n",
    "before the last line": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "a size that is none": CHUNKED + b"xyz\r\nhello\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": CHUNKED + b"1" * 20 + b"\r\nhello\r\n0\r\n\r\n",
    "more than the size": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "a trailer without end": CHUNKED + b"0\r\nX: " + b"y" * 1_000_000,
    "trailers without end": CHUNKED + b"0\r\n" + b"X: y\r\n" * 100_000,
    "an extension without end": CHUNKED + b"5;" + b"y" * 1_000_000,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_body_that_is_cut_or_broken_is_a_bad_reply(answer: bytes) -> None:
    error = refused(answer)
    assert type(error) is BadReply
    assert error.step == "body"


def test_a_head_that_is_cut_is_no_answer() -> None:
    for answer in (b"", b"HTTP/1", OK, OK + b"Content-Le", b"HTTP/1.1 100 Continue\r\n\r\n"):
        error = refused(answer)
        assert (type(error), error.step) == (Unreachable, "headers")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 " + b"x" * 1_000_000,
        OK + b"X: " + b"y" * 20_000 + b"\r\n\r\n",
        OK + b"x" * 20_000 + b": y\r\n\r\n",
        OK + b"X: " + b"y" * 10_000_000,
        OK + b"X: y\r\n" * 129 + b"\r\n",
        OK + (b"X: " + b"y" * 2_000 + b"\r\n") * 120,  # each of which would do
        b"\r\n" * 1_000_000,
    ],
)
def test_a_head_is_limited_in_every_direction(head: bytes) -> None:
    error = refused(head)
    assert (type(error), error.step) == (BadReply, "headers")


def test_a_head_may_be_as_large_as_the_limits() -> None:
    headers = [f"X-{number}: {'y' * 500}" for number in range(126)] + ["X-Long: " + "z" * (16 * 1024 - 6)]
    assert len(told(whole(b"hi", *headers)).headers) == 128


# Any pieces

LOOPS = st.sampled_from([asyncio.new_event_loop, uvloop.new_event_loop])
BODIES = st.lists(st.binary(max_size=40), max_size=5)
FRAMES = st.sampled_from(["length", "chunks", "close"])


def framed(pieces: list[bytes], how: str) -> bytes:
    body = b"".join(pieces)
    if how == "length":
        return whole(body, "X-A: b")
    return CHUNKED + chunked(pieces, trailers=b"T: u\r\n") if how == "chunks" else OK + b"\r\n" + body


def cut_at(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [piece for start, end in zip([0, *ends], ends, strict=False) if (piece := data[start:end])]


def within(loop: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main(), 60)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(limited())


@settings(max_examples=80)
@given(BODIES, FRAMES, st.booleans(), st.lists(st.integers(0, 500), max_size=8), LOOPS)
@example([b"hello"], "chunks", True, list(range(200)), asyncio.new_event_loop)
@example([b"hello"], "length", True, list(range(200)), uvloop.new_event_loop)
def test_an_answer_reads_the_same_in_whatever_pieces_it_comes(
    pieces: list[bytes], how: str, interim: bool, places: list[int], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    answer = b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" * interim + framed(pieces, how)

    async def talk(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say_slowly(cut_at(answer, places))
            if how == "close":
                return

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            for _ in range(2):
                response = await send(UpstreamRequest("POST", server.url, {}, b"{}"), POLICY, pool=pool)
                assert (response.status, response.body) == (200, b"".join(pieces))
            assert server.connections == (2 if how == "close" else 1)

    within(loop, main)


GARBAGE = st.lists(
    st.sampled_from([OK, CHUNKED, b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Content-Length: 5\r\n",
                     b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
                     b"HTTP/1.1 ", b"Content-Encoding: gzip\r\n", b"100 x\r\n", b"204 x\r\n",
                     b"HTTP/1.0 200\r\n", b"a: b\r\n"])
    | st.binary(max_size=20),
    max_size=8,
)  # fmt: skip


@settings(max_examples=150)
@given(GARBAGE, st.booleans(), LOOPS)
def test_any_garbage_is_an_answer_or_an_error_of_ours_and_never_hangs(
    said: list[bytes], stays: bool, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.say_slowly(said)
        if stays:
            await peer.gone()

    async def main() -> None:
        policy = Policy(LOOPBACK, total_timeout_s=0.3 if stays else 20)
        async with RawServer(talk) as server, Pool() as pool:
            for _ in range(2):
                try:
                    response = await send(UpstreamRequest("GET", server.url), policy, pool=pool)
                except UpstreamError as error:
                    assert type(error) in (BadReply, Unreachable, TimedOut)
                    assert error.step in ("headers", "body")
                else:
                    assert 200 <= response.status <= 999
            assert pool.connections()[0] == 0

    within(loop, main)


def test_a_fake_that_answers_is_what_the_others_are_measured_by() -> None:
    assert told(whole(b"hi")).body == told(CHUNKED + chunked([b"h", b"i"])).body == b"hi"

    async def main() -> None:
        async with RawServer(answering(whole(b"1"), whole(b"2"))) as server, Pool() as pool:
            request = UpstreamRequest("GET", server.url)
            assert [(await send(request, POLICY, pool=pool)).body for _ in range(3)] == [b"1", b"2", b"2"]
            assert server.connections == 1

    asyncio.run(main())
