"""Upstreams inside this process keep the rules of every call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from providers import inprocess
from providers.base_urls import clean_base_url, join_url
from providers.errors import AddressBlocked, BadReply, TimedOut, Unreachable, UpstreamError
from providers.inprocess import Handler, InProcessAnswer
from providers.upstream import Exchange, Policy, Pool, open, send
from providers.wire import UpstreamRequest, UpstreamResponse

HERE = Policy(in_process=True, total_timeout_s=10)
SHORT = Policy(in_process=True, total_timeout_s=0.2)
REQUEST = UpstreamRequest("POST", "inproc://tested/v1/echo", {"X-Asked": "yes"}, b"hello")


def ask(handler: Handler, policy: Policy = HERE) -> UpstreamResponse:
    inprocess.register("tested", handler)
    return asyncio.run(send(REQUEST, policy))


def fail(kind: type[UpstreamError], handler: Handler, policy: Policy = HERE) -> UpstreamError:
    with pytest.raises(kind) as caught:
        ask(handler, policy)
    return caught.value


async def echo(request: UpstreamRequest) -> InProcessAnswer:
    return InProcessAnswer(418, {"Content-Type": "text/plain; charset=utf-8"}, request.body or b"")


def pieces(*parts: bytes, delay_s: float = 0) -> Handler:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part
            await asyncio.sleep(delay_s)

    async def handler(request: UpstreamRequest) -> InProcessAnswer:
        return InProcessAnswer(200, {}, body())

    return handler


def test_a_handler_gets_the_request_and_its_answer_comes_back_whole() -> None:
    response = ask(echo)
    assert (response.status, response.body) == (418, b"hello")
    assert response.headers == {"content-type": "text/plain; charset=utf-8"}
    assert response.latency_ms >= 0


def test_a_body_in_pieces_is_read_as_it_comes_and_empty_pieces_do_not_end_it() -> None:
    async def run() -> tuple[str, list[bytes]]:
        inprocess.register("tested", pieces(b"a", b"", b"b"))
        async with Pool() as pool, await open(REQUEST, HERE, pool=pool) as exchange:
            return exchange.media_type, [chunk async for chunk in exchange.chunks()]

    assert asyncio.run(run()) == ("", [b"a", b"b"])


def test_its_exchange_has_all_that_one_of_a_socket_has() -> None:
    public = {name for name in dir(Exchange) if not name.startswith("_")}
    assert public <= set(dir(inprocess.InProcessExchange))


@pytest.mark.parametrize("url", ["inproc://mock", "INPROC://mock", "inproc://mock/v1"])
def test_no_base_url_that_a_person_gives_is_of_this_scheme(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        clean_base_url(url)
    assert clean_base_url(url, in_process=True).lower() == url.lower()
    assert join_url("inproc://mock", "/v1", "/models") == "inproc://mock/v1/models"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://mock", "inproc:mock", "inproc://", "inproc://u:p@mock"])
def test_what_may_be_in_process_may_be_nothing_else_for_it(url: str) -> None:
    with pytest.raises(ValueError):
        clean_base_url(url, in_process=True)


def test_a_policy_has_to_allow_it() -> None:
    assert fail(AddressBlocked, echo, Policy()).step == "connect"


def test_a_host_that_nobody_answers_for_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        asyncio.run(send(UpstreamRequest("GET", "inproc://nobody/"), HERE))


def test_the_time_until_the_headers_is_bounded() -> None:
    async def hang(request: UpstreamRequest) -> InProcessAnswer:
        await asyncio.sleep(60)
        return InProcessAnswer(200)

    assert fail(TimedOut, hang, SHORT).step == "headers"
    assert fail(TimedOut, hang, Policy(in_process=True, first_byte_timeout_s=0.1)).step == "headers"


def test_the_time_of_a_body_is_bounded_in_all_and_between_pieces() -> None:
    stalled = fail(TimedOut, pieces(b"a", delay_s=60), Policy(in_process=True, idle_timeout_s=0.1))
    assert (stalled.step, "stalled" in str(stalled)) == ("body", True)
    slow = fail(TimedOut, pieces(*[b"a"] * 100, delay_s=0.05), SHORT)
    assert (slow.step, "stalled" in str(slow)) == ("body", False)


def test_a_body_larger_than_the_policy_allows_is_refused() -> None:
    fail(BadReply, pieces(b"a" * 6, b"b" * 6), Policy(in_process=True, max_body_bytes=10))


def test_a_connection_that_breaks_is_an_error_of_the_network() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    async def cut(request: UpstreamRequest) -> InProcessAnswer:
        return InProcessAnswer(200, {}, body())

    async def gone(request: UpstreamRequest) -> InProcessAnswer:
        raise ConnectionResetError

    assert fail(BadReply, cut).step == "body"
    assert fail(Unreachable, gone).step == "headers"


class Endless:
    """A body that notes when it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.sleep(60)
            yield b"never"
        finally:
            self.closed.set()

    async def __call__(self, request: UpstreamRequest) -> InProcessAnswer:
        return InProcessAnswer(200, {}, self.body())


def test_leaving_an_exchange_closes_the_handlers_body() -> None:
    async def run() -> None:
        inprocess.register("tested", endless := Endless())
        async with Pool() as pool, await open(REQUEST, HERE, pool=pool) as exchange:
            assert await anext(exchange.chunks()) == b"first"
        await asyncio.wait_for(endless.closed.wait(), 10)

    asyncio.run(run())


def test_closing_an_exchange_ends_a_read_that_is_under_way() -> None:
    async def run() -> None:
        inprocess.register("tested", endless := Endless())
        async with Pool() as pool:
            exchange = await open(REQUEST, HERE, pool=pool)
            reading = asyncio.ensure_future(exchange.read())
            await asyncio.sleep(0.05)
            exchange.close()
            exchange.close()
            with pytest.raises(BadReply):
                await reading
            await asyncio.wait_for(endless.closed.wait(), 10)

    asyncio.run(run())


def test_a_reader_that_is_cancelled_is_cancelled_and_the_body_is_closed() -> None:
    async def run() -> None:
        inprocess.register("tested", endless := Endless())
        reading = asyncio.ensure_future(send(REQUEST, HERE))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.wait_for(endless.closed.wait(), 10)

    asyncio.run(run())


def test_draining_reads_the_rest_within_its_time() -> None:
    async def run() -> None:
        inprocess.register("tested", endless := Endless())
        async with Pool() as pool, await open(REQUEST, HERE, pool=pool) as exchange:
            await exchange.drain(0.05)
        await asyncio.wait_for(endless.closed.wait(), 10)

    asyncio.run(run())
