"""Connections that are kept: which are used again, and which never."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from providers.errors import BadReply, Unreachable
from providers.upstream import Pool, send
from providers.upstream import open as begin
from providers.wire import UpstreamRequest
from tests.fakes.asking import POLICY
from tests.fakes.loops import Run, eventually
from tests.fakes.raw import Peer, RawServer, answering, chunked, whole


def get(server: RawServer, path: str = "/") -> UpstreamRequest:
    return UpstreamRequest("GET", server.url + path)


def post(server: RawServer, body: bytes = b"{}") -> UpstreamRequest:
    return UpstreamRequest("POST", server.url, {"Content-Type": "application/json"}, body)


KEPT = {
    "length": whole(b"hi"),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([b"hi"], trailers=b"A: b\r\n"),
    "nothing": b"HTTP/1.1 204 None\r\n\r\n",
    "an older one that says so": whole(b"hi", "Connection: keep-alive").replace(b"1.1", b"1.0", 1),
    "an error": whole(b"no", status=500),
}
LET_GO = {
    "close": whole(b"hi", "Connection: close"),
    "close among others": whole(b"hi", "Connection: x, Close"),
    "an older one": whole(b"hi").replace(b"1.1", b"1.0", 1),
    "until close": b"HTTP/1.1 200 OK\r\n\r\nhi",
    "an older one with chunks": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunked([b"hi"]),
    "a second answer": whole(b"hi") + whole(b"of somebody else"),
    "half a second answer": whole(b"hi") + b"HTTP/1.1 200 OK\r\n",
    "one byte": whole(b"hi") + b"x",
    "a body where none belongs": b"HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("answer", KEPT.values(), ids=KEPT)
def test_a_connection_is_kept_after_an_answer_whose_end_is_certain(answer: bytes, run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(answer)) as server, Pool() as pool:
            for _ in range(3):
                await send(post(server), POLICY, pool=pool)
            assert server.connections == 1
            assert pool.connections() == (0, 1)

    run(main())


@pytest.mark.parametrize("answer", LET_GO.values(), ids=LET_GO)
def test_a_connection_is_let_go_after_any_other_answer(answer: bytes, run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(answer)
        if b"Length" in answer or b"chunked" in answer or b"204" in answer:
            await peer.gone()  # it is the client that goes

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            for _ in range(2):
                assert (await send(get(server), POLICY, pool=pool)).body in (b"hi", b"")
            assert server.connections == 2
            assert pool.connections() == (0, 0)

    run(main())


def test_what_comes_between_two_calls_is_never_taken_for_an_answer(run: Run) -> None:
    go = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(whole(b"right"))
        if peer.number == 0:
            await go.wait()
            peer.say(whole(b"poison"))
        await peer.gone()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            assert (await send(get(server), POLICY, pool=pool)).body == b"right"
            go.set()
            await eventually(lambda: pool.connections() == (0, 0))
            assert (await send(get(server), POLICY, pool=pool)).body == b"right"

    run(main())


@pytest.mark.parametrize("unasked", [whole(b"of somebody else"), b""], ids=["an answer", "the end"])
def test_what_the_loop_had_no_time_to_read_is_never_taken_for_an_answer(unasked: bytes, run: Run) -> None:
    go, said, asked = threading.Event(), threading.Event(), []

    def serve(listener: socket.socket) -> None:
        first, _ = listener.accept()
        with first:
            asked.append(first.recv(65536))
            first.sendall(whole(b"right"))
            assert go.wait(20)
            first.sendall(unasked)
            first.shutdown(socket.SHUT_WR)
            said.set()
            other, _ = listener.accept()
            with other:
                asked.append(other.recv(65536))
                other.sendall(whole(b"right"))
                other.recv(1)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(20)
            request = UpstreamRequest("POST", f"http://127.0.0.1:{listener.getsockname()[1]}", {}, b"{}")
            server = threading.Thread(target=serve, args=[listener])
            server.start()
            async with Pool() as pool:
                assert (await send(request, POLICY, pool=pool)).body == b"right"
                go.set()
                assert said.wait(20)  # without a turn of the loop
                assert (await send(request, POLICY, pool=pool)).body == b"right"
                assert pool.connections() == (0, 1)
            await asyncio.to_thread(server.join, 20)
        assert len(asked) == 2  # nothing was sent where it could have been lost

    run(main())


def test_what_is_said_before_it_was_asked_is_no_http(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        peer.say(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            with pytest.raises((BadReply, Unreachable)) as caught:
                await send(get(server), POLICY, pool=pool)
            assert caught.value.step == "headers"

    run(main())


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_a_kept_connection_that_the_upstream_closes_is_forgotten(how: str, run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(whole(b"hi"))
        await asyncio.sleep(0.05)
        getattr(peer, how)()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(get(server), POLICY, pool=pool)
            await eventually(lambda: pool.connections() == (0, 0))

    run(main())


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("body", [b"{}", b"x" * 300_000])
def test_a_call_that_meets_a_connection_being_closed_is_made_once_more(how: str, body: bytes, run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(whole(b"hi"))
        await peer.request()
        if peer.number == 0:
            getattr(peer, how)()
        else:
            peer.say(whole(b"again"))

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(post(server), POLICY, pool=pool)
            assert (await send(post(server, body), POLICY, pool=pool)).body == b"hi"
            assert server.connections == 2
            assert [len(body) for _, body in server.requests] == [2, len(body), len(body)]
            assert pool.connections() == (0, 1)

    run(main())


def test_what_comes_before_the_request_has_left_is_not_its_answer(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        while await peer.request():
            peer.say(whole(b"%d" % peer.number))

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(post(server), POLICY, pool=pool)
            (kept,) = pool._open
            sending = asyncio.create_task(send(post(server), POLICY, pool=pool))
            await asyncio.sleep(0)  # the request waits for the end of this turn of the loop
            kept.data_received(whole(b"of somebody else"))
            assert (await sending).body == b"1"
            assert len(server.requests) == 2
            assert pool.connections() == (0, 1)

    run(main())


def test_a_call_is_never_made_once_more_on_a_connection_that_was_new(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            with pytest.raises(Unreachable):
                await send(get(server), POLICY, pool=pool)
            assert len(server.requests) == 1
            assert pool.connections() == (0, 0)

    run(main())


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", whole(b"hi")[:-1]])
def test_a_call_is_never_made_once_more_after_a_part_of_an_answer(said: bytes, run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(whole(b"hi"))
        await peer.request()
        peer.say(said)

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(get(server), POLICY, pool=pool)
            with pytest.raises((Unreachable, BadReply)):
                await send(get(server), POLICY, pool=pool)
            assert len(server.requests) == 2

    run(main())


def test_a_post_that_was_long_under_way_is_not_sent_twice_but_a_get_is(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(whole(b"hi"))
        await peer.request()
        await asyncio.sleep(1.2)  # it may have been worked on

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(get(server), POLICY, pool=pool)
            with pytest.raises(Unreachable):
                await send(post(server), POLICY, pool=pool)
            assert len(server.requests) == 2
            await send(get(server), POLICY, pool=pool)
            assert (await send(get(server), POLICY, pool=pool)).body == b"hi"
            assert len(server.requests) == 5

    run(main())


def test_a_second_connection_that_fails_is_the_end_of_it(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            peer.say(whole(b"hi"))
        await peer.request()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            await send(get(server), POLICY, pool=pool)
            with pytest.raises(Unreachable):
                await send(get(server), POLICY, pool=pool)
            assert (server.connections, len(server.requests)) == (2, 3)

    run(main())


def test_connections_that_nobody_uses_are_closed_after_a_while(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole())) as server, Pool(keepalive_s=0.2) as pool:
            await asyncio.gather(*(send(get(server), POLICY, pool=pool) for _ in range(5)))
            assert pool.connections() == (0, 5)
            await eventually(lambda: pool.connections() == (0, 0))
            await send(get(server), POLICY, pool=pool)
            assert server.connections == 6

    run(main())


def test_an_answer_that_is_not_read_to_its_end_costs_the_connection(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        await peer.gone()
        left.set()

    left = asyncio.Event()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            async with await begin(get(server), POLICY, pool=pool) as exchange:
                assert pool.connections() == (1, 0)
                async for chunk in exchange.chunks():
                    assert chunk == b"hello"
                    break
            await asyncio.wait_for(left.wait(), 20)
            assert pool.connections() == (0, 0)

    run(main())
