"""What a driver says is done over a real socket, within the service's limits, and called off when it is to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    BadRequest,
    ServerFailed,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from runtimes.drivers._answers import document, expect
from runtimes.drivers._pieces import JSONEvents, JSONLines
from runtimes.drivers.steps import NEXT, Ask, Listen, Pause, Progress, Remember, Steps, Stopped
from runtimes.models import LLMService
from runtimes.services.driving import perform, run
from tests.runtimes.fakes.server import FakeRuntime, hang, hang_up, says

LOOPBACK = ["127.0.0.0/8"]


class Plain(FakeRuntime):
    """A runtime that pulls what it is asked for, in `steps` lines of `pause_s`."""

    steps = 3
    pause_s = 0.0

    def routes(self) -> None:
        self.route("GET", "/version", says(200, b'{"version": "1.2"}'))
        self.route("POST", "/pull", self.pull)
        self.route("POST", "/cancel", says(200, b"{}"))

    async def pull(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(self.steps):
            await asyncio.sleep(self.pause_s)
            await response.write(b'{"done": %d}\n' % number)
        await response.write_eof()
        return response


@pytest.fixture
def runtime() -> Iterator[Plain]:
    with Plain() as running:
        yield running


def service_at(url: str, **fields: Any) -> LLMService:
    given = {"type": "ollama", "urls": [url], "allowed_networks": LOOPBACK, "short_timeout_s": 5, "long_timeout_s": 20}
    return LLMService(name="plain", **{**given, **fields})


def ask(path: str = "/version", **fields: Any) -> Steps[Any]:
    return document((yield Ask("GET", path, **fields)))


def pull(remembered: dict[str, Any] | None = None) -> Steps[list[Any]]:
    heard = []
    yield Remember({"since": (remembered or {}).get("since", 0) + 1})
    expect((yield Listen("POST", "/pull", {"model": "tiny"}, patience="long", pieces=JSONLines)))
    try:
        while (piece := (yield NEXT)) is not None:
            heard.append(piece["done"])
            yield Progress("pulling", piece["done"], 10)
    except Stopped:
        yield Ask("POST", "/cancel", {"model": "tiny"})
        raise
    return heard


def test_an_answer_is_read_whole(runtime: Plain) -> None:
    assert run(ask(), service=service_at(runtime.url)) == {"version": "1.2"}
    assert runtime.requests[0].headers["accept"] == "application/json"
    assert "authorization" not in runtime.requests[0].headers


def test_an_answer_in_pieces_is_told_as_it_comes(runtime: Plain) -> None:
    told: list[Progress] = []
    kept: list[Any] = []
    result = run(pull(), service=service_at(runtime.url), on_progress=told.append, on_remember=kept.append)
    assert result == [0, 1, 2]
    assert [(one.done_bytes, one.total_bytes) for one in told] == [(0, 10), (1, 10), (2, 10)]
    assert kept == [{"since": 1}]
    assert runtime.requests[0].json == {"model": "tiny"}


def test_what_is_to_be_kept_may_take_its_time(runtime: Plain) -> None:
    kept: list[Any] = []

    async def keep(data: Any) -> None:
        await asyncio.sleep(0)
        kept.append(data)

    run(pull({"since": 4}), service=service_at(runtime.url), on_remember=keep)
    assert kept == [{"since": 5}]


def test_server_sent_events_are_pieces_too(runtime: Plain) -> None:
    runtime.behave("GET", "/events", says(200, b'data: {"a": 1}\n\ndata: {"a": 2}\n\n', "text/event-stream"))

    def listen() -> Steps[list[Any]]:
        yield Listen("GET", "/events", pieces=JSONEvents)
        return [(yield NEXT), (yield NEXT), (yield NEXT), (yield NEXT)]

    assert run(listen(), service=service_at(runtime.url)) == [{"a": 1}, {"a": 2}, None, None]


def test_a_refusal_of_what_was_to_be_listened_to_has_its_body(runtime: Plain) -> None:
    runtime.behave("POST", "/pull", says(500, b'{"error": "no such thing"}'))
    with pytest.raises(ServerFailed, match="no such thing"):
        run(pull(), service=service_at(runtime.url))


def test_objects_before_a_break_are_told_before_it(runtime: Plain) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"done": 1}\n{"done": 2}\n')
        return await hang_up(request)

    runtime.behave("POST", "/pull", cut)
    told: list[Progress] = []
    with pytest.raises(UpstreamError) as error:
        run(pull(), service=service_at(runtime.url), on_progress=told.append)
    assert error.value.step == "body"
    assert [one.done_bytes for one in told] == [1, 2]


def test_the_query_is_encoded(runtime: Plain) -> None:
    run(ask(query={"name": "a b&c"}), service=service_at(runtime.url))
    assert runtime.requests[0].query == {"name": "a b&c"}


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_paths_are_taken_below_the_servers_root(runtime: Plain, end: str) -> None:
    assert run(ask(), service=service_at(runtime.url + end)) == {"version": "1.2"}


def test_another_of_several_urls_may_be_named(runtime: Plain) -> None:
    service = service_at("http://127.0.0.1:1")
    service.urls.append(runtime.url)
    assert run(ask(), service=service, base_url=runtime.url) == {"version": "1.2"}
    with pytest.raises(Unreachable):
        run(ask(), service=service)


def test_the_key_of_the_environment_goes_with_it_and_never_into_an_error(
    runtime: Plain, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVICE_KEY_VARIABLES = [("PLAIN_API_KEY", "")]
    monkeypatch.setenv("PLAIN_API_KEY", "plain-key-0123456789")
    service = service_at(runtime.url, api_key_env_var="PLAIN_API_KEY")
    run(ask(), service=service)
    assert runtime.requests[0].headers["authorization"] == "Bearer plain-key-0123456789"
    run(ask(key=False), service=service)
    assert "authorization" not in runtime.requests[1].headers
    runtime.behave("GET", "/version", says(401, b'{"error": "plain-key-0123456789 is not one of ours"}'))
    with pytest.raises(AuthenticationFailed) as error:
        run(ask(), service=service)
    assert "plain-key" not in f"{error.value} {error.value.detail} {error.value.hint}"


def test_no_variable_of_our_own_is_ever_sent(runtime: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "of-the-installation")
    with pytest.raises(AuthenticationFailed, match="a secret of this installation"):
        run(ask(), service=service_at(runtime.url, api_key_env_var="SECRET_KEY"))
    assert runtime.requests == []


def test_an_address_that_nobody_approved_is_not_called(runtime: Plain) -> None:
    with pytest.raises(AddressBlocked):
        run(ask(), service=service_at(runtime.url, allowed_networks=[]))
    assert runtime.requests == []


def test_a_service_without_a_driver_says_so(runtime: Plain) -> None:
    with pytest.raises(BadRequest, match="no driver"):
        run(ask(), service=service_at(runtime.url, type="nothing"))


def test_a_runtime_that_never_answers_is_not_waited_for(runtime: Plain) -> None:
    runtime.behave("GET", "/version", hang)
    with pytest.raises(TimedOut):
        run(ask(), service=service_at(runtime.url, short_timeout_s=1))


def test_silence_within_an_answer_ends_it(runtime: Plain) -> None:
    runtime.pause_s = 60

    def listen() -> Steps[None]:
        yield Listen("POST", "/pull", {}, patience="long", pieces=JSONLines, idle_timeout_s=0.3)
        yield NEXT

    with pytest.raises(TimedOut):
        run(listen(), service=service_at(runtime.url))


def test_a_long_download_outlasts_every_timeout_but_that_of_silence(runtime: Plain) -> None:
    runtime.steps, runtime.pause_s = 8, 0.2
    service = service_at(runtime.url, short_timeout_s=1, long_timeout_s=1)
    assert run(pull(), service=service) == list(range(8))


def test_a_driver_may_go_on_after_a_failure(runtime: Plain) -> None:
    runtime.behave("GET", "/version", hang_up)

    def either() -> Steps[str]:
        try:
            yield Ask("GET", "/version")
        except UpstreamError:
            yield Pause(0.01)
            return "the other way"
        return "this way"

    assert run(either(), service=service_at(runtime.url)) == "the other way"


async def _started(runtime: Plain, path: str = "/pull") -> None:
    end = time.monotonic() + 20
    while not runtime.asked("POST", path):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _pulling(runtime: Plain, **named: Any) -> AsyncIterator[asyncio.Task[Any]]:
    runtime.pause_s, runtime.steps = 0.05, 100_000
    task = asyncio.create_task(perform(pull(), service=service_at(runtime.url), **named))
    await _started(runtime)
    yield task


def _calls_off(stop: Callable[[asyncio.Task[Any], asyncio.Event], None], error: type[BaseException]) -> Any:
    async def flow(runtime: Plain) -> None:
        event = asyncio.Event()
        async with _pulling(runtime, stop=event) as task:
            stop(task, event)
            with pytest.raises(error):
                await task

    return flow


@pytest.mark.parametrize(
    "flow",
    [
        _calls_off(lambda task, event: event.set(), Stopped),
        _calls_off(lambda task, event: task.cancel() and None, asyncio.CancelledError),
    ],
    ids=["stop", "cancel"],
)
def test_what_is_called_off_is_closed_and_the_runtime_told(runtime: Plain, flow: Any) -> None:
    asyncio.run(flow(runtime))
    assert runtime.wait_for("POST", "/cancel").json == {"model": "tiny"}
    assert runtime.wait_for("POST", "/pull", closed=True)


def test_what_takes_too_long_is_called_off_as_well(runtime: Plain) -> None:
    runtime.pause_s, runtime.steps = 0.05, 100_000
    with pytest.raises(TimedOut, match=r"within 0\.5 s"):
        run(pull(), service=service_at(runtime.url), timeout_s=0.5)
    assert runtime.wait_for("POST", "/cancel")
    assert runtime.wait_for("POST", "/pull", closed=True)


def test_an_error_of_who_is_told_calls_it_off(runtime: Plain) -> None:
    def unwilling(progress: Progress) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run(pull(), service=service_at(runtime.url), on_progress=unwilling)
    assert runtime.wait_for("POST", "/cancel")


def test_a_runtime_that_does_not_hear_of_it_is_left_alone(runtime: Plain) -> None:
    runtime.behave("POST", "/cancel", hang)

    async def flow() -> None:
        stop = asyncio.Event()
        async with _pulling(runtime, stop=stop) as task:
            stop.set()
            with pytest.raises(Stopped):
                await task

    started = time.monotonic()
    asyncio.run(flow())
    assert time.monotonic() - started < 30


def test_what_is_not_yet_begun_can_be_stopped(runtime: Plain) -> None:
    runtime.behave("GET", "/version", hang)

    async def flow() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(perform(ask(), service=service_at(runtime.url), stop=stop))
        await asyncio.sleep(0.05)
        stop.set()
        with pytest.raises(Stopped):
            await task

    asyncio.run(flow())
