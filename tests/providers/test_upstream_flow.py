"""Bodies that are large, readers that are slow or leave, and limits of time."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from providers.errors import BadReply, TimedOut, Unreachable
from providers.upstream import Policy, Pool, send
from providers.upstream import open as begin
from providers.wire import UpstreamRequest
from tests.fakes.asking import LOOPBACK, POLICY
from tests.fakes.loops import Run, eventually
from tests.fakes.raw import Peer, RawServer, answering, chunked, whole


def test_a_large_body_waits_for_the_upstream_to_take_it(run: Run) -> None:
    body = bytes(range(256)) * 100_000
    go = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await go.wait()
        await peer.request()
        peer.say(whole(b"took it"))
        await peer.request()
        peer.say(whole(b"again"))

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            request = UpstreamRequest("POST", server.url, {}, body)
            call = asyncio.create_task(send(request, POLICY, pool=pool))
            await asyncio.sleep(0.1)
            assert not call.done()
            go.set()
            assert (await call).body == b"took it"
            assert (await send(request, POLICY, pool=pool)).body == b"again"
            assert [taken for _, taken in server.requests] == [body, body]
            assert server.connections == 1

    run(main())


def test_an_answer_that_comes_before_a_large_body_has_left_counts(run: Run) -> None:
    left = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.say(whole(b"too large", status=413))
        await asyncio.sleep(0.2)
        await peer.gone()
        left.set()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            request = UpstreamRequest("POST", server.url, {}, b"x" * 50_000_000)
            response = await send(request, POLICY, pool=pool)
            assert (response.status, response.body) == (413, b"too large")
            assert pool.connections() == (0, 0)  # what is left of the body is no next request
            await asyncio.wait_for(left.wait(), 20)

    run(main())


def test_an_upstream_that_leaves_in_a_large_body_is_unreachable(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async def main() -> None:
        async with RawServer(talk) as server:
            with pytest.raises(Unreachable) as caught:
                await send(UpstreamRequest("POST", server.url, {}, b"x" * 50_000_000), POLICY)
            assert caught.value.step == "send"

    run(main())


def test_a_slow_reader_holds_the_upstream_back_and_misses_nothing(run: Run) -> None:
    piece, pieces = b"x" * 65_536, 400
    said = 0

    async def talk(peer: Peer) -> None:
        nonlocal said
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(pieces):
            peer.say(chunked([piece])[:-5])
            await peer.writer.drain()
            said += 1
        peer.say(b"0\r\n\r\n")
        await peer.gone()

    async def main() -> None:
        policy = Policy(LOOPBACK, max_body_bytes=10**9, idle_timeout_s=20)
        async with RawServer(talk) as server, Pool() as pool:
            async with await begin(UpstreamRequest("GET", server.url), policy, pool=pool) as exchange:
                rest = exchange.chunks()
                got = len(await anext(rest))
                before = -1
                while said != before:  # until it stands still
                    before = said
                    await asyncio.sleep(0.2)
                assert said < pieces
                async for chunk in rest:
                    got += len(chunk)
            assert got == len(piece) * pieces
            assert pool.connections() == (0, 1)

    run(main())


def test_an_answer_that_is_here_can_be_read_though_the_connection_is_used_again(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole(b"first"), whole(b"second"))) as server, Pool() as pool:
            request = UpstreamRequest("GET", server.url)
            first = await begin(request, POLICY, pool=pool)
            await eventually(lambda: pool.connections() == (0, 1))
            second = await begin(request, POLICY, pool=pool)
            first.close()
            assert (await second.read(), await first.read()) == (b"second", b"first")
            second.close()
            assert server.connections == 1

    run(main())


STEPS = {"headers": b"", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"}


@pytest.mark.parametrize("said", STEPS.values(), ids=STEPS)
def test_whoever_is_cancelled_leaves_at_once_and_the_upstream_sees_it(said: bytes, run: Run) -> None:
    left = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(said)
        await peer.gone()
        left.set()

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            call = asyncio.create_task(send(UpstreamRequest("GET", server.url), POLICY, pool=pool))
            await eventually(lambda: len(server.requests) == 1)
            await asyncio.sleep(0.02)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(left.wait(), 20)
            assert pool.connections() == (0, 0)

    run(main())


def test_each_limit_ends_a_call_that_exceeds_it_and_no_other(run: Run) -> None:
    pauses = {"/late": (0.6, 0), "/stalls": (0, 0.6)}

    async def talk(peer: Peer) -> None:
        head, _ = await peer.request()
        before, within = pauses[head.split()[1].decode()]
        await asyncio.sleep(before)
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await asyncio.sleep(within)
        peer.say(b"hello")

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            late, stalls = (UpstreamRequest("GET", server.url + path) for path in pauses)
            strict = Policy(LOOPBACK, first_byte_timeout_s=0.2, idle_timeout_s=30)
            with pytest.raises(TimedOut) as caught:
                await send(late, strict, pool=pool)
            assert (caught.value.step, "0.2 s" in caught.value.message) == ("headers", True)
            assert (await send(stalls, strict, pool=pool)).body == b"hellohello"
            strict = Policy(LOOPBACK, first_byte_timeout_s=30, idle_timeout_s=0.2)
            with pytest.raises(TimedOut) as caught:
                await send(stalls, strict, pool=pool)
            assert (caught.value.step, "stalled" in caught.value.message) == ("body", True)
            assert (await send(late, strict, pool=pool)).body == b"hellohello"
            for request, step in ((late, "headers"), (stalls, "body")):
                with pytest.raises(TimedOut) as caught:
                    await send(request, Policy(LOOPBACK, total_timeout_s=0.3, idle_timeout_s=30), pool=pool)
                assert (caught.value.step, "stalled" in caught.value.message) == (step, False)

    run(main())


def test_the_limits_of_one_call_are_not_those_of_the_next(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.3)
            peer.say(whole(b"hi"))

    async def main() -> None:
        async with RawServer(talk) as server, Pool() as pool:
            request = UpstreamRequest("GET", server.url)
            for total_s in (30.0, 0.8, 30.0):
                assert (await send(request, Policy(LOOPBACK, total_timeout_s=total_s), pool=pool)).body == b"hi"
            with pytest.raises(TimedOut):
                await send(request, Policy(LOOPBACK, total_timeout_s=0.1), pool=pool)
            assert (await send(request, Policy(LOOPBACK, total_timeout_s=30.0), pool=pool)).body == b"hi"
            assert server.connections == 2

    run(main())


def test_a_compressed_stream_is_bounded_and_cut_ones_are_seen(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole(b"x" * 10, "Content-Encoding: GZIP"))) as server:
            with pytest.raises(BadReply) as caught:
                await send(UpstreamRequest("GET", server.url), POLICY)
            assert caught.value.step == "body"

    run(main())


def test_what_follows_a_compressed_answer_is_not_gathered(run: Run) -> None:
    packed = gzip.compress(b"hi")

    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say(b"%x\r\n%b\r\n" % (len(packed), packed))
        while True:
            peer.say(b"10000\r\n%b\r\n" % bytes(65536))
            await peer.writer.drain()

    async def main() -> None:
        async with RawServer(talk) as server:
            with pytest.raises(BadReply) as caught:
                await send(UpstreamRequest("GET", server.url), Policy(LOOPBACK, total_timeout_s=30))
            assert caught.value.step == "body"

    run(main())


def test_a_compressed_answer_that_unpacks_to_nothing_ends_all_the_same(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.say(b"2\r\n\x78\x9c\r\n")
        while True:
            peer.say(b"c350\r\n%b\r\n" % (b"\0\0\0\xff\xff" * 10_000))  # empty blocks
            await peer.writer.drain()

    async def main() -> None:
        async with RawServer(talk) as server:
            with pytest.raises(BadReply) as caught:
                policy = Policy(LOOPBACK, total_timeout_s=30, max_body_bytes=1_000_000)
                await send(UpstreamRequest("GET", server.url), policy)
            assert "larger" in str(caught.value)

    run(main())
