"""What upstreams do wrong, and how each of it ends: for the caller, in the books, and for the target."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.breaker import THRESHOLD, Breaker
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import Office, Reply, chat_body, send
from tests.gateway.test_chat import END, chunk, pieces
from usage.records import CallRecord, Outcome

pytestmark = pytest.mark.once

PATH, CHAT = "/v1/chat/completions", "/chat/completions"
Fault = Callable[[FakeUpstream], None]
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "four" * 5}, "finish_reason": "stop"}],
}


@pytest.fixture(autouse=True)
def impatient(settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 1
    settings.GATEWAY_FIRST_BYTE_TIMEOUT_S = 0.5
    settings.GATEWAY_IDLE_TIMEOUT_S = 0.5


def stalls(handler: Handler) -> None:
    """A stream that begins and then says no more."""
    handler.head(200, "text/event-stream", {})
    handler.wfile.write(chunk("Once upon"))
    handler.wfile.flush()
    handler.server.fake.closing.wait(60)
    handler.close_connection = True


def one_event_without_end(handler: Handler) -> None:
    handler.close_connection = True
    handler.head(200, "text/event-stream", {})
    handler.wfile.write(b'data: {"choices": [{"delta": {"content": "')
    while not handler.server.fake.closing.is_set():
        handler.wfile.write(b"a" * 65536)


BEFORE: dict[str, tuple[Fault, int, str, int]] = {  # what, the status and code that the caller gets, and how many tries
    "500": (lambda up: up.status(CHAT, 500, {"error": {"message": "Oops"}}), 502, "server_failed", 2),
    "503": (lambda up: up.status(CHAT, 503, {"error": {"message": "Busy"}}), 503, "overloaded", 2),
    "429": (lambda up: up.rate_limited(CHAT, retry_after="0"), 429, "rate_limited", 2),
    "no connection": (lambda up: up.hang_up(CHAT), 502, "unreachable", 2),
    "cut": (lambda up: up.cut(CHAT), 502, "bad_reply", 1),
    "HTML": (lambda up: up.html(CHAT), 502, "bad_reply", 1),
    "malformed JSON": (lambda up: up.raw(CHAT, b'{"choices": [', content_type="application/json"), 502, "bad_reply", 1),
    "an error in a 200": (
        lambda up: up.status(CHAT, 200, {"error": {"message": "No credit", "code": "insufficient_quota"}}),
        429, "quota_exceeded", 1,
    ),
    "a 204": (lambda up: up.raw(CHAT, b"", status=204), 502, "bad_reply", 1),
    "a redirect": (lambda up: up.redirect(CHAT, "http://127.0.0.1:1/"), 502, "wrong_url", 1),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", list(BEFORE))
def test_a_fault_before_the_answer(office: Office, upstream: FakeUpstream, what: str, stream: bool) -> None:
    fault, status, code, tries = BEFORE[what]
    fault(upstream)
    reply = office.chat(stream=stream)
    (record,) = office.records()
    assert (reply.status, reply.error["code"]) == (status, code)
    assert upstream.calls[CHAT] == tries == len(record.attempts)
    assert (record.outcome, record.status, record.error_code) == (Outcome.ERROR, status, code)


STREAMS: dict[str, tuple[Any, str, str]] = {
    "a stall": (stalls, "timed_out", "Once upon"),
    "a cut": (pieces(chunk("Once upon"), end=False), "bad_reply", "Once upon"),
    "an end without its end": (pieces(chunk("Once upon")), "bad_reply", "Once upon"),
    "malformed JSON": (pieces(chunk("Once upon"), b"data: {\n\n" + END), "bad_reply", "Once upon"),
    "half an event": (pieces(chunk("Once upon"), b'data: {"choi'), "bad_reply", "Once upon"),
}


@pytest.mark.parametrize("what", list(STREAMS))
def test_a_fault_in_the_middle_of_a_stream(office: Office, upstream: FakeUpstream, what: str) -> None:
    fault, code, said = STREAMS[what]
    upstream.behave(CHAT, fault)
    reply = office.chat(stream=True)
    *chunks, last = reply.events
    assert reply.status == 200
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == said
    assert last["error"]["code"] == code
    (record,) = office.records()
    assert (record.outcome, record.error_code) == (Outcome.UPSTREAM_CUT, code)
    assert record.usage.estimated and record.usage.output_tokens == 3
    assert upstream.calls[CHAT] == 1, "what has begun is not tried again"


NO_STREAMS: dict[str, tuple[Any, str]] = {
    "silence": (lambda handler: handler.server.fake.closing.wait(60) and None, "timed_out"),
    "nothing at all": (pieces(), "bad_reply"),
    "nothing but its end": (pieces(END), ""),
    "comments alone": (pieces(b": hello\n\n", b": hello\n\n"), "bad_reply"),
    "an event without end": (one_event_without_end, "bad_reply"),
    "an error as the first event": (pieces(b'data: {"error": {"message": "Oops", "code": 500}}\n\n'), "server_failed"),
}


@pytest.mark.parametrize("what", list(NO_STREAMS))
def test_a_stream_that_never_begins(office: Office, upstream: FakeUpstream, what: str) -> None:
    fault, code = NO_STREAMS[what]
    upstream.behave(CHAT, fault)
    reply = office.chat(stream=True)
    (record,) = office.records()
    if code:
        assert (reply.error["code"], record.error_code, record.outcome) == (code, code, Outcome.ERROR)
        assert reply.status >= 500
    else:
        assert (reply.events, record.outcome) == (["[DONE]"], Outcome.COMPLETE)


@pytest.mark.parametrize("what", ["silence", "half a body"])
def test_a_whole_answer_that_does_not_come_in_time(
    office: Office, upstream: FakeUpstream, settings: Any, what: str
) -> None:
    settings.LLM_TIMEOUT_SECONDS = 0.5
    (upstream.hang if what == "silence" else upstream.stall)(CHAT)
    reply = office.chat()
    assert (reply.status, reply.error["code"]) == (504, "timed_out")
    (record,) = office.records()
    assert (record.outcome, record.status, record.error_code) == (Outcome.ERROR, 504, "timed_out")
    assert record.usage.estimated and record.usage.output_tokens is None, "what it would have said is unknown"


def test_an_upstream_that_is_slow_and_right_is_waited_for(office: Office, upstream: FakeUpstream) -> None:
    upstream.slow(CHAT, 0.3)
    assert [office.chat(stream=stream).status for stream in (False, True)] == [200, 200]
    assert [record.outcome for record in office.records()] == [Outcome.COMPLETE] * 2


def test_a_stream_that_was_kept_open_with_comments_fails_in_the_stream(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.GATEWAY_KEEPALIVE_S = 0.1
    settings.GATEWAY_FIRST_BYTE_TIMEOUT_S = 30

    def late(handler: Handler) -> None:
        handler.server.fake.closing.wait(0.5)
        handler.json({"error": {"message": "Oops"}}, status=500)

    upstream.behave(CHAT, late)
    reply = office.chat(stream=True)
    assert (reply.status, reply.body.startswith(b": keep-alive\n\n")) == (200, True)
    (error,) = reply.events
    assert error["error"]["code"] == "server_failed"
    (record,) = office.records()
    assert (record.outcome, record.status, len(record.attempts)) == (Outcome.ERROR, 502, 2)


def booked(office: Office, upstream: FakeUpstream, usage: Any, *, stream: bool) -> CallRecord:
    """The record of a call whose upstream says that this was used."""
    if stream:
        counted = {"choices": [], "usage": usage}
        sent = [chunk("four" * 5), chunk(finish="stop"), f"data: {json.dumps(counted)}\n\n".encode(), END]
        upstream.behave(CHAT, pieces(*sent))
    else:
        upstream.status(CHAT, 200, {**ANSWER, "usage": usage})
    assert office.chat(stream=stream).status == 200
    (record,) = office.records()
    assert record.outcome == Outcome.COMPLETE
    assert record.cost is not None and record.cost >= 0
    return record


def tokens(prompt: Any, completion: Any, total: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", [None, {}, "a lot", [7], tokens("7", "3", "10"), tokens(-7, -3, -10),
                                   tokens(1.5, 2.5, 4.0), {"total_tokens": 10},
                                   tokens(10**12, 10**12, 2 * 10**12), tokens(2**70, 2**70, 2**71)])  # fmt: skip
def test_counts_that_are_none_are_estimated(office: Office, upstream: FakeUpstream, usage: Any, stream: bool) -> None:
    record = booked(office, upstream, usage, stream=stream)
    assert record.usage.estimated
    assert record.usage.output_tokens == 5
    assert record.usage.input_tokens


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_a_count_that_json_has_not_makes_the_answer_none(office: Office, upstream: FakeUpstream, number: str) -> None:
    body = json.dumps({**ANSWER, "usage": tokens(7, 3, 10)}).replace(": 7", f": {number}").encode()
    upstream.raw(CHAT, body, content_type="application/json")
    assert office.chat().error["code"] == "bad_reply"
    counted = b'data: {"choices": [], "usage": {"prompt_tokens": %b}}\n\n' % number.encode()
    upstream.behave(CHAT, pieces(chunk("four" * 5), counted, END))
    reply = office.chat(stream=True)
    assert reply.events[-1]["error"]["code"] == "bad_reply"
    whole, streamed = office.records()
    assert (whole.outcome, streamed.outcome) == (Outcome.ERROR, Outcome.UPSTREAM_CUT)
    assert streamed.usage.estimated and streamed.usage.output_tokens == 5


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usage", "prompt", "completion"),
    [
        (tokens(7, 3, 99), 7, 3),
        (tokens(7, 3, 1), 7, 3),
        ({**tokens(7, 3, 10), "prompt_tokens_details": {"cached_tokens": 70}}, 7, 3),
        ({**tokens(7, 3, 40), "completion_tokens_details": {"reasoning_tokens": 30}}, 7, 33),
        ({**tokens(7, 3, 10), "completion_tokens_details": {"reasoning_tokens": -1}}, 7, 3),
        (tokens(10**12, 3, 10), 7, 3),
        ({**tokens(7, 3, 10), "prompt_tokens_details": {"cached_tokens": 10**12}}, 7, 3),
    ],
)
def test_sums_that_do_not_add_up_book_what_was_said(
    office: Office, upstream: FakeUpstream, usage: Any, prompt: int, completion: int, stream: bool
) -> None:
    record = booked(office, upstream, usage, stream=stream)
    assert not record.usage.estimated
    assert (record.usage.prompt_tokens, record.usage.completion_tokens) == (prompt, completion)


def test_a_target_that_fails_rests_is_tried_and_comes_back(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.LLM_MAX_RETRIES = 0
    now = [0.0]

    async def run(gateway: Gateway) -> None:
        async def ask() -> Reply:
            return await send(gateway, PATH, chat_body(), token=office.token)

        upstream.status(CHAT, 500, {"error": {"message": "Oops"}})
        assert [(await ask()).status for _ in range(THRESHOLD)] == [502] * THRESHOLD
        resting = await ask()
        assert (resting.status, resting.error["code"], resting.headers["retry-after"]) == (503, "overloaded", "10")
        assert upstream.calls[CHAT] == THRESHOLD
        now[0] += 10.5
        assert (await ask()).status == 502, "one call is let through"
        again = await ask()
        assert (again.status, again.headers["retry-after"]) == (503, "20"), "and it rests twice as long"
        assert upstream.calls[CHAT] == THRESHOLD + 1
        now[0] += 20.5
        upstream.slow(CHAT, 0.3)
        first, second = await asyncio.gather(ask(), ask())
        assert sorted((first.status, second.status)) == [200, 503], "one at a time"
        assert [(await ask()).status for _ in range(2)] == [200, 200]

    office.use(run, breaker=Breaker(clock=lambda: now[0]))
    assert len(office.records()) == upstream.calls[CHAT], "what was not sent is not booked"


def test_retry_after_is_passed_on(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.LLM_TIMEOUT_SECONDS = 5
    upstream.rate_limited(CHAT, retry_after="33")
    reply = office.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, "33")
    assert upstream.calls[CHAT] == 1
