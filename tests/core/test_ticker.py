"""Timers that share one of the loop's."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
import uvloop

from core.ticker import TICK_S, Ticker

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest):
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


def test_callbacks_come_in_order_and_never_early(runner):
    async def main():
        loop, ticker, came = asyncio.get_running_loop(), Ticker.running(), []
        began = loop.time()
        for delay_s in (0.3, 0.0, 0.12):
            ticker.call_after(delay_s, object(), lambda delay_s=delay_s: came.append((delay_s, loop.time() - began)))
        while len(came) < 3:
            await asyncio.sleep(0.01)
        return came

    came = runner.run(main())
    assert [asked for asked, _ in came] == [0.0, 0.12, 0.3]
    assert all(took >= asked for asked, took in came)


def test_what_is_cancelled_is_not_called(runner):
    async def main():
        ticker, came = Ticker.running(), []
        slot = ticker.call_after(0.05, "first", lambda: came.append("first"))
        ticker.call_after(0.05, "second", lambda: came.append("second"))
        ticker.cancel(slot, "first")
        ticker.cancel(slot, "first")
        while not came:
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * TICK_S)
        ticker.cancel(slot, "second")
        return came

    assert runner.run(main()) == ["second"]


def test_one_that_is_set_by_another_comes_too(runner):
    async def main():
        ticker, done = Ticker.running(), asyncio.Event()
        ticker.call_after(0.01, "outer", lambda: ticker.call_after(0.01, "inner", done.set))
        await asyncio.wait_for(done.wait(), 10)

    runner.run(main())


def test_a_broken_callback_keeps_no_other_from_coming(runner):
    async def main():
        loop, ticker, done, said = asyncio.get_running_loop(), Ticker.running(), asyncio.Event(), []
        loop.set_exception_handler(lambda _, context: said.append(context))
        ticker.call_after(0.01, "broken", lambda: 1 / 0)
        ticker.call_after(0.01, "whole", done.set)
        await asyncio.wait_for(done.wait(), 10)
        return said

    assert len(runner.run(main())) == 1


def test_one_that_is_due_can_be_cancelled_by_another_that_is(runner):
    async def main():
        ticker, came = Ticker.running(), []
        slots = {}

        def first_of(name: str, other: str) -> None:
            came.append(name)
            ticker.cancel(slots[other], other)

        for name, other in (("one", "two"), ("two", "one")):
            slots[name] = ticker.call_after(0.01, name, lambda name=name, other=other: first_of(name, other))
        while not came:
            await asyncio.sleep(0.01)
        await asyncio.sleep(2 * TICK_S)
        return came

    assert len(runner.run(main())) == 1


def test_it_rests_when_nothing_waits_and_begins_again(runner):
    async def main():
        ticker, done = Ticker.running(), asyncio.Event()
        slot = ticker.call_after(0.2, "gone", done.set)
        ticker.cancel(slot, "gone")
        while ticker.is_running:
            await asyncio.sleep(0.02)
        ticker.call_after(0.01, "here", done.set)
        await asyncio.wait_for(done.wait(), 10)

    runner.run(main())


def test_ten_thousand_are_set_and_cancelled_without_being_kept(runner):
    class Key:
        pass

    async def main():
        ticker, keys = Ticker.running(), [Key() for _ in range(10_000)]
        slots = [ticker.call_after(30, key, lambda: None) for key in keys]
        for slot, key in zip(slots, keys, strict=True):
            ticker.cancel(slot, key)
        last = weakref.ref(keys[-1])
        keys.clear()
        del key
        gc.collect()
        return last()

    assert runner.run(main()) is None


def test_each_loop_has_its_own():
    async def mine() -> Ticker:
        assert Ticker.running() is Ticker.running()
        return Ticker.running()

    assert asyncio.run(mine()) is not asyncio.run(mine())


@pytest.mark.parametrize("make", LOOPS, ids=["asyncio", "uvloop"])
def test_a_loop_that_is_over_is_not_kept(make):
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        ticker, done = Ticker.running(), asyncio.Event()
        ticker.call_after(0.01, "here", done.set)
        ticker.call_after(30, "late", int)
        await asyncio.wait_for(done.wait(), 10)
        return weakref.ref(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=make) as runner:
        over = runner.run(main())
    del runner
    gc.collect()
    assert over() is None
