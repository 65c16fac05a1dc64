"""Who waits for a connection, in which order, and what becomes of those who give up."""

from __future__ import annotations

import asyncio
import random

import pytest

from providers.errors import BadReply, TimedOut, Unreachable, UpstreamError
from providers.upstream import Policy, Pool, send
from providers.upstream import open as begin
from providers.wire import UpstreamRequest
from tests.fakes.asking import LOOPBACK, POLICY
from tests.fakes.loops import Run, eventually
from tests.fakes.raw import Peer, RawServer, answering, whole


def get(server: RawServer, path: str = "/") -> UpstreamRequest:
    return UpstreamRequest("GET", server.url + path)


@pytest.mark.parametrize("limits", [{"limit": 2}, {"limit": 0, "limit_per_host": 2}])
def test_calls_wait_for_each_other_where_there_are_enough_and_go_in_turn(limits: dict[str, int], run: Run) -> None:
    at_once = most = 0
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        nonlocal at_once, most
        while True:
            head, _ = await peer.request()
            seen.append(head.split()[1])
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1
            peer.say(whole())

    async def main() -> None:
        async with RawServer(talk) as server, Pool(**limits) as pool:
            await asyncio.gather(*(send(get(server, f"/{n}"), POLICY, pool=pool) for n in range(12)))
            assert (most, server.connections) == (2, 2)
            assert [int(path[1:]) // 2 for path in seen] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
            assert pool.connections() == (0, 2)

    run(main())


def test_waiting_for_a_connection_counts_into_the_time_to_connect(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async def main() -> None:
        async with RawServer(talk) as server, Pool(limit=1) as pool:
            first = asyncio.create_task(send(get(server), Policy(LOOPBACK, total_timeout_s=30), pool=pool))
            await eventually(lambda: len(server.requests) == 1)
            with pytest.raises(TimedOut) as caught:
                await send(get(server), Policy(LOOPBACK, connect_timeout_s=0.2), pool=pool)
            assert caught.value.step == "connect"
            assert "in use" in caught.value.message
            gone = asyncio.create_task(send(get(server), POLICY, pool=pool))
            await asyncio.sleep(0.01)
            for task in (gone, first):
                task.cancel()
            await asyncio.gather(gone, first, return_exceptions=True)
            assert pool.connections() == (0, 0)
            assert len(server.requests) == 1

    run(main())


def test_whoever_gives_up_waiting_keeps_nobody_from_going(run: Run) -> None:
    async def main() -> None:
        async with RawServer(answering(whole())) as server, Pool(limit=1) as pool:
            for _ in range(20):
                calls = [asyncio.create_task(send(get(server), POLICY, pool=pool)) for _ in range(6)]
                for call in calls[::2]:
                    await asyncio.sleep(0)
                    call.cancel()
                done = await asyncio.gather(*calls, return_exceptions=True)
                assert all(not isinstance(one, BaseException) for one in done[1::2])
                assert pool.connections()[0] == 0

    run(main())


def test_failures_give_their_place_back(run: Run) -> None:
    async def hangs_up(peer: Peer) -> None:
        await peer.request()

    async def main() -> None:
        async with RawServer(hangs_up) as server, Pool(limit=1) as pool:
            urls = [server.url, "http://127.0.0.1:1/", "http://no-such-host.invalid/", "http://10.0.0.1/"]
            for url in urls * 2:
                with pytest.raises(UpstreamError):
                    await send(UpstreamRequest("GET", url), POLICY, pool=pool)
            assert pool.connections() == (0, 0)

    run(main())


def test_a_pool_that_is_closed_ends_its_calls_and_takes_no_more(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async def main() -> None:
        async with RawServer(talk) as server:
            pool = Pool(limit=2)
            calls = [asyncio.create_task(send(get(server), POLICY, pool=pool)) for _ in range(4)]
            await eventually(lambda: len(server.requests) == 2)
            await pool.close()
            for call in calls:
                with pytest.raises(Unreachable):
                    await call
            with pytest.raises(Unreachable):
                await send(get(server), POLICY, pool=pool)
            assert pool.connections() == (0, 0)

    run(main())


def test_an_answer_is_not_whole_because_its_pool_was_closed(run: Run) -> None:
    async def talk(peer: Peer) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n\r\nhalf of what ends with the connection")
        await peer.gone()

    async def main() -> None:
        async with RawServer(talk) as server:
            pool = Pool()
            exchange = await begin(get(server), POLICY, pool=pool)
            reading = asyncio.create_task(exchange.read())
            await asyncio.sleep(0.05)
            await pool.close()
            with pytest.raises(BadReply):
                await reading

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_the_count_is_right_whatever_happened(seed: int, run: Run) -> None:
    chance = random.Random(seed)

    async def talk(peer: Peer) -> None:
        while True:
            _, asked = await peer.request()
            match chance.randrange(8):
                case 0:
                    return
                case 1:
                    peer.reset()
                    return
                case 2:
                    peer.say(whole(asked)[:-1])
                    return
                case 3:
                    peer.say(whole(asked) + b"more")
                case 4:
                    await asyncio.sleep(chance.random() / 50)
                    peer.say(whole(asked))
                case _:
                    await peer.say_slowly([bytes([byte]) for byte in whole(asked)])

    async def main() -> None:
        policy = Policy(LOOPBACK, connect_timeout_s=20, total_timeout_s=20)
        async with RawServer(talk) as server, Pool(limit=6) as pool:
            for turn in range(15):
                bodies = [b"%d" % number for number in range(turn * 100, turn * 100 + 20)]
                requests = [UpstreamRequest("POST", server.url, {}, body) for body in bodies]
                calls = [asyncio.create_task(send(request, policy, pool=pool)) for request in requests]
                for call in chance.sample(calls, 5):
                    await asyncio.sleep(chance.random() / 200)
                    call.cancel()
                for body, told in zip(bodies, await asyncio.gather(*calls, return_exceptions=True), strict=True):
                    if isinstance(told, BaseException):
                        assert isinstance(told, UpstreamError | asyncio.CancelledError)
                    else:
                        assert told.body == body  # nobody ever gets what was meant for somebody else
                assert pool.connections()[0] == 0

    run(main())
