"""What only Redis can do, and what happens when it cannot: processes that share it and die, pauses, losses."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import redis

from tests.usage.redis_server import RedisServer
from usage.admission import Admission, BudgetLine, Limit, Refused, Spent
from usage.counters.redis import RedisCounters

REQUESTS = Limit("{t}:r", "requests", 10**6, "this token")
PARALLEL = Limit("{t}:p", "parallel", 2, "this tenant")
BUDGET = BudgetLine("{t}:b", "b", 1000, "month", "this tenant")
PATIENT_S = 60.0  # for what must not be cut short on a busy machine


def counters_of(url: str, prefix: str = "llmadmin:", **options: Any) -> RedisCounters:
    return RedisCounters(url, prefix=prefix, **{"timeout_s": PATIENT_S, **options})


def unique() -> str:
    return f"llmadmin_test_{secrets.token_hex(8)}:"


async def until(condition: Callable[[], Any], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def admit(
    counters: RedisCounters, *bounds: Limit | BudgetLine, units: int = 0, now: float | None = None
) -> Admission:
    limits = [bound for bound in bounds if isinstance(bound, Limit)]
    budgets = [bound for bound in bounds if isinstance(bound, BudgetLine)]
    return await counters.admit(limits, budgets, tokens=0, units=units, now=time.time() if now is None else now)


async def admitted(
    counters: RedisCounters, *bounds: Limit | BudgetLine, units: int = 0, now: float | None = None
) -> bool:
    try:
        await counters.settle(await admit(counters, *bounds, units=units, now=now), tokens=0, units=0)
    except Refused:
        return False
    return True


class Books:
    """What the database says was spent."""

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.asked = 0

    async def __call__(self, lines: Sequence[BudgetLine]) -> dict[str, int]:
        self.asked += 1
        return {line.key: self.spent for line in lines}


# --- Several processes ----------------------------------------------------------------------------------------------


def _race(url: str, prefix: str, callers: int, barrier: Any, outcomes: Any) -> None:
    async def calls() -> tuple[int, int, bool]:
        counters = counters_of(url, prefix, lease_s=3600)
        await asyncio.to_thread(barrier.wait)

        async def call() -> bool:
            try:
                admission = await admit(counters, PARALLEL_MANY, BUDGET, units=7)
            except Refused:
                return False
            await counters.settle(admission, tokens=0, units=7)
            return True

        done = await asyncio.gather(*(call() for _ in range(callers)))
        was_away = counters.is_away
        await counters.close()
        return sum(done), len(done), was_away

    outcomes.put(asyncio.run(calls()))


PARALLEL_MANY = Limit("{t}:many", "parallel", 1000, "this tenant")


def test_processes_that_race_for_the_last_cent_overspend_nothing(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    prefix, processes = unique(), 4
    barrier, outcomes = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=_race, args=(redis_url, prefix, 64, barrier, outcomes), daemon=True)
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    counted = [outcomes.get(timeout=120) for _ in started]
    for process in started:
        process.join(60)
    assert not any(was_away for _, _, was_away in counted)
    assert sum(calls for _, calls, _ in counted) == 256
    assert sum(spent for spent, _, _ in counted) == 1000 // 7, counted

    async def left() -> bool:
        counters = counters_of(redis_url, prefix)
        try:
            return await admitted(counters, BUDGET, units=1000 % 7) and not await admitted(counters, BUDGET, units=7)
        finally:
            await counters.close()

    assert asyncio.run(left())


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_what_a_dead_process_held_is_free_once_its_leases_end(redis_url: str) -> None:
    async def check() -> None:
        prefix, clock = unique(), Clock()
        dying, living = (counters_of(redis_url, prefix, lease_s=30, server_time=False, clock=clock) for _ in range(2))
        for _ in range(2):
            await dying.admit([PARALLEL], [BUDGET], tokens=0, units=500, now=clock.now)
        await dying.close()  # without having settled anything, and nobody renews
        clock.now += 29
        assert not await admitted(living, PARALLEL, now=clock.now)
        assert not await admitted(living, BUDGET, units=1, now=clock.now)
        clock.now += 2
        assert await admitted(living, PARALLEL, BUDGET, units=1000, now=clock.now)
        await living.close()

    asyncio.run(check())


def test_a_call_that_takes_long_keeps_what_it_holds(redis_url: str) -> None:
    async def check() -> None:
        prefix, clock, lease_s = unique(), Clock(), 0.3
        one, other = (counters_of(redis_url, prefix, lease_s=lease_s, server_time=False, clock=clock) for _ in range(2))
        running = [await one.admit([PARALLEL], [BUDGET], tokens=0, units=500, now=clock.now) for _ in range(2)]
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:

            def renewed() -> bool:
                held = [member for key in client.scan_iter(f"{prefix}*") if client.type(key) == "zset"
                        for member in client.zrange(key, 0, -1, withscores=True)]  # fmt: skip
                return len(held) == 4 and all(ends > clock.now * 1000 + 200 for _, ends in held)

            for _ in range(5):
                clock.now += 0.2
                await until(renewed)
                assert not await admitted(other, PARALLEL, now=clock.now)
                assert not await admitted(other, BUDGET, units=1, now=clock.now)
        for admission in running:
            await one.settle(admission, tokens=0, units=400)
        assert await admitted(other, PARALLEL, BUDGET, units=200, now=clock.now)
        assert not await admitted(other, BUDGET, units=201, now=clock.now)
        await one.close()
        await other.close()

    asyncio.run(check())


def test_a_caller_who_leaves_at_whatever_moment_holds_nothing(redis_url: str) -> None:
    async def check() -> None:
        counters = counters_of(redis_url, unique(), lease_s=3600)
        assert await admitted(counters, PARALLEL, BUDGET, units=1000)
        left = 0
        for turns in [*range(12)] * 12:  # of the loop, in which an answer mostly comes
            asking = asyncio.create_task(admit(counters, PARALLEL, BUDGET, units=1000))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            [outcome] = await asyncio.gather(asking, return_exceptions=True)
            if isinstance(outcome, Admission):
                await counters.settle(outcome, tokens=0, units=0)
            left += isinstance(outcome, asyncio.CancelledError)
            await until(lambda: admitted(counters, PARALLEL, BUDGET, units=1000))
        assert left
        await counters.close()

    asyncio.run(check())


def test_every_key_of_a_call_is_in_its_tenants_slot_and_goes_by_itself(redis_url: str) -> None:
    async def check(prefix: str) -> None:
        counters = counters_of(redis_url, prefix)
        await admit(counters, REQUESTS, PARALLEL, BUDGET, units=5)
        await counters.close()

    prefix = unique()
    asyncio.run(check(prefix))
    with redis.Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter(f"{prefix}*"))
        assert len(keys) == 4
        assert all(b"{t}" in key for key in keys)
        assert all(client.pttl(key) > 0 for key in keys)


# --- When it is away ------------------------------------------------------------------------------------------------


def outage(server: RedisServer, check: Callable[[RedisCounters], Awaitable[None]], **options: Any) -> None:
    """Runs a check with counters that have reached the server."""

    async def run() -> None:
        counters = counters_of(server.url, **options)
        await until(lambda: admitted(counters, REQUESTS))
        await until(lambda: not counters.is_away)
        try:
            await check(counters)
        finally:
            await counters.close()

    asyncio.run(run())


def stop(server: RedisServer) -> None:
    server.stop()


def pause(server: RedisServer) -> None:
    server.pause()


@pytest.mark.parametrize("ends", [stop, pause])
def test_calls_go_on_without_redis_and_wait_for_it_once_at_most(
    redis_server: RedisServer, ends: Callable[[RedisServer], None]
) -> None:
    async def check(counters: RedisCounters) -> None:
        ends(redis_server)
        began = time.monotonic()
        assert all(await asyncio.gather(*(admitted(counters, REQUESTS, PARALLEL_MANY) for _ in range(50))))
        assert counters.is_away
        for _ in range(500):  # which would take a minute if each waited for the bound
            assert await admitted(counters, REQUESTS, PARALLEL_MANY)
        assert time.monotonic() - began < 25

    outage(redis_server, check, timeout_s=0.1)


@pytest.mark.parametrize("ends", [stop, pause])
def test_limited_calls_are_refused_without_redis_where_that_is_asked_for(
    redis_server: RedisServer, ends: Callable[[RedisServer], None]
) -> None:
    async def check(counters: RedisCounters) -> None:
        ends(redis_server)
        with pytest.raises(Refused) as refused:
            await admit(counters, REQUESTS)
        assert (refused.value.status, refused.value.kind) == (503, "unavailable")
        assert (await admit(counters)).headers == {}  # without limits nothing has to be counted

    outage(redis_server, check, without="refuse", timeout_s=0.1)


def test_without_redis_a_process_goes_on_from_what_it_knew_and_does_not_overspend(redis_server: RedisServer) -> None:
    async def check(counters: RedisCounters) -> None:
        await counters.settle(await admit(counters, BUDGET, units=600), tokens=0, units=600)
        await admit(counters, BUDGET, units=100)
        redis_server.stop()
        assert not await admitted(counters, BUDGET, units=301)
        outcomes = [await admitted(counters, BUDGET, units=300)]
        for _ in range(30):
            with_cost = await counters.admit([], [BUDGET], tokens=0, units=10, now=time.time())
            await counters.settle(with_cost, tokens=0, units=10)
        assert outcomes == [True]
        assert not await admitted(counters, BUDGET, units=1)

    outage(redis_server, check, spent=Books(0))


def test_when_redis_comes_back_empty_the_database_says_what_was_spent(redis_server: RedisServer) -> None:
    books = Books(0)

    async def check(counters: RedisCounters) -> None:
        await counters.settle(await admit(counters, BUDGET, units=500), tokens=0, units=500)
        redis_server.stop()
        await until(lambda: _asked(counters))
        admission = await admit(counters, BUDGET, units=300)
        await counters.settle(admission, tokens=0, units=300)
        books.spent = 800  # the ledger has them all
        redis_server.start()
        await until(lambda: not counters.is_away)
        assert not await admitted(counters, BUDGET, units=201)
        assert await admitted(counters, BUDGET, units=200)
        with redis_server.client() as client:
            [key] = [key for key in client.keys("*:b:*") if not key.endswith(b":reserved")]
            assert client.hget(key, "s") == b"800"

    outage(redis_server, check, spent=books)


def test_what_was_spent_while_redis_stood_still_is_told_to_it_before_anybody_uses_it(
    redis_server: RedisServer,
) -> None:
    books = Books(0)

    async def check(counters: RedisCounters) -> None:
        await counters.settle(await admit(counters, BUDGET, units=500), tokens=0, units=500)
        redis_server.pause()
        await until(lambda: _asked(counters))
        await counters.settle(await admit(counters, BUDGET, units=300), tokens=0, units=300)
        books.spent = 800
        redis_server.resume()  # it still knows of the first five hundred
        await until(lambda: not counters.is_away)
        assert not await admitted(counters, BUDGET, units=201)
        assert await admitted(counters, BUDGET, units=200)

    outage(redis_server, check, spent=books, timeout_s=2.0)


def test_a_second_outage_does_not_go_on_from_the_first(redis_server: RedisServer) -> None:
    books = Books(0)

    async def check(counters: RedisCounters) -> None:
        assert await admitted(counters, BUDGET, units=1)
        for spent in (300, 600):
            redis_server.stop()
            await until(lambda: _asked(counters))
            assert await admitted(counters, BUDGET, units=1000 - books.spent)
            redis_server.start()
            await until(lambda: not counters.is_away)
            await counters.settle(await admit(counters, BUDGET, units=300), tokens=0, units=300)
            books.spent = spent
        redis_server.stop()
        await until(lambda: _asked(counters))
        assert not await admitted(counters, BUDGET, units=401)
        assert await admitted(counters, BUDGET, units=400)

    outage(redis_server, check, spent=books)


async def _asked(counters: RedisCounters) -> bool:
    await admitted(counters, REQUESTS)
    return counters.is_away


def test_a_call_that_began_without_redis_is_told_to_it_when_it_ends(redis_server: RedisServer) -> None:
    async def check(counters: RedisCounters) -> None:
        await counters.settle(await admit(counters, BUDGET, units=100), tokens=0, units=100)
        redis_server.stop()
        await until(lambda: _asked(counters))
        running = await admit(counters, BUDGET, units=500)
        redis_server.start()
        await until(lambda: not counters.is_away)
        assert await admitted(counters, BUDGET, units=900)
        await counters.settle(running, tokens=0, units=400)
        assert not await admitted(counters, BUDGET, units=501)
        assert await admitted(counters, BUDGET, units=500)

    outage(redis_server, check, spent=Books(0))


def test_a_redis_that_was_emptied_is_filled_again_without_a_refusal(redis_server: RedisServer) -> None:
    books = Books(250)

    async def check(counters: RedisCounters) -> None:
        held = await admit(counters, BUDGET, units=100)
        with redis_server.client() as client:
            client.flushall()
            client.script_flush()
        assert await admitted(counters, BUDGET, units=750)
        assert not await admitted(counters, BUDGET, units=751)
        await counters.settle(held, tokens=0, units=100)
        assert not await admitted(counters, BUDGET, units=651)
        assert await admitted(counters, BUDGET, units=650)
        assert not counters.is_away

    outage(redis_server, check, spent=books)


def test_a_redis_that_refuses_to_write_is_as_good_as_away(redis_server: RedisServer) -> None:
    async def check(counters: RedisCounters) -> None:
        with redis_server.client() as client:
            client.config_set("maxmemory", "1")
            await until(lambda: _asked(counters))
            assert await admitted(counters, REQUESTS, PARALLEL)
            client.config_set("maxmemory", "0")
            await until(lambda: not counters.is_away)

    outage(redis_server, check)


def test_what_the_database_alone_knows_is_learned_while_calls_are_made(redis_url: str) -> None:
    """A process died with calls in its spool: they were never told to Redis, but are booked when it starts again."""
    books, clock = Books(0), itertools.count(int(time.time()), 11)
    now = [float(next(clock))]

    async def check(counters: RedisCounters) -> None:
        async def call(units: int) -> bool:
            now[0] = float(next(clock))  # eleven seconds later
            try:
                admission = await counters.admit([], [BUDGET], tokens=0, units=units, now=now[0])
            except Refused:
                return False
            await counters.settle(admission, tokens=0, units=0)
            return True

        assert await call(1000)
        books.spent = 900
        await until(lambda: _refused(call, 1000))
        assert await call(100)
        await counters.close()

    asyncio.run(check(counters_of(redis_url, unique(), spent=books, clock=lambda: now[0])))


def test_a_call_that_is_booked_before_it_is_settled_is_counted_once(redis_url: str) -> None:
    books, now = Books(0), [time.time()]

    async def check() -> None:
        counters = counters_of(redis_url, unique(), spent=books, clock=lambda: now[0])
        running = await admit(counters, BUDGET, units=600)
        books.spent = 600
        for reading in range(2):
            asked = books.asked
            now[0] += 11
            assert await admitted(counters, BUDGET, units=1, now=now[0])
            await until(lambda asked=asked: books.asked > asked)
            if reading == 0:  # the books were ahead of it
                await counters.settle(running, tokens=0, units=600)
        assert not await admitted(counters, BUDGET, units=401, now=now[0])
        assert await admitted(counters, BUDGET, units=400, now=now[0])
        await counters.close()

    asyncio.run(check())


async def _refused(call: Callable[[int], Awaitable[bool]], units: int) -> bool:
    return not await call(units)


def test_a_database_that_is_away_too_leaves_what_the_snapshot_knew(redis_url: str) -> None:
    async def broken(lines: Sequence[BudgetLine]) -> dict[str, int]:
        raise OSError("the database is away")

    async def check() -> None:
        label = time.strftime("%Y-%m", time.gmtime())
        line = BudgetLine("{t}:k", "k", 1000, "month", "this tenant", spent_units=400, spent_in=label)
        spent: Spent = broken
        counters = counters_of(redis_url, unique(), spent=spent)
        assert not await admitted(counters, line, units=601)
        assert await admitted(counters, line, units=600)
        await counters.close()

    asyncio.run(check())
