"""What upstreams do wrong, called from Python: each of it ends as it does over HTTP, and as one record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.breaker import THRESHOLD
from gateway.bundle import LLMBundle
from providers.errors import Overloaded, ServerFailed, UpstreamError
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office
from tests.gateway.python_door import HELLO, python_door, records
from tests.gateway.test_chat import CHAT, END, chunk, pieces
from tests.gateway.test_faults import ANSWER, BEFORE, NO_STREAMS, STREAMS, impatient, tokens
from usage.models import UsageRecord
from usage.records import Outcome

pytestmark = pytest.mark.once

__all__ = ["impatient"]

Make = Callable[..., LLMBundle]
WITHIN_S = 30


@pytest.fixture
def make(office: Office, settings: Any, impatient: None) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


def only(office: Office) -> UsageRecord:
    (record,) = records(office)
    return record


def ask(bundle: LLMBundle, *, stream: bool) -> str:
    """The text that came; raises what the bundle raises."""
    if not stream:
        return bundle.chat(None, HELLO)[0]
    return "".join(piece for piece in bundle.chat_streamly(None, HELLO) if isinstance(piece, str))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", list(BEFORE))
def test_a_fault_before_the_answer(make: Make, office: Office, upstream: FakeUpstream, what: str, stream: bool) -> None:
    fault, status, code, tries = BEFORE[what]
    fault(upstream)
    with pytest.raises(UpstreamError) as raised:
        ask(make(), stream=stream)
    assert (raised.value.http_status, raised.value.code) == (status, code)
    record = only(office)
    assert upstream.calls[CHAT] == tries == len(record.attempts or [])
    assert (record.outcome, record.status, record.error_code) == (Outcome.ERROR, status, code)


@pytest.mark.parametrize("what", list(STREAMS))
def test_a_fault_in_the_middle_of_a_stream(make: Make, office: Office, upstream: FakeUpstream, what: str) -> None:
    fault, code, said = STREAMS[what]
    upstream.behave(CHAT, fault)
    came: list[Any] = []
    with pytest.raises(UpstreamError) as raised:
        came.extend(make().chat_streamly(None, HELLO))
    assert ("".join(came), raised.value.code) == (said, code)
    record = only(office)
    assert (record.outcome, record.error_code, record.estimated) == (Outcome.UPSTREAM_CUT, code, True)
    assert record.output_tokens == 3
    assert upstream.calls[CHAT] == 1, "what has begun is not tried again"


@pytest.mark.parametrize("what", [what for what, (_, code) in NO_STREAMS.items() if code])
def test_a_stream_that_never_begins(make: Make, office: Office, upstream: FakeUpstream, what: str) -> None:
    fault, code = NO_STREAMS[what]
    upstream.behave(CHAT, fault)
    with pytest.raises(UpstreamError) as raised:
        ask(make(), stream=True)
    record = only(office)
    assert (raised.value.code, record.error_code, record.outcome) == (code, code, Outcome.ERROR)


@pytest.mark.parametrize("what", ["silence", "half a body"])
def test_a_whole_answer_that_does_not_come_in_time(
    make: Make, office: Office, upstream: FakeUpstream, settings: Any, what: str
) -> None:
    settings.LLM_TIMEOUT_SECONDS = 0.5
    (upstream.hang if what == "silence" else upstream.stall)(CHAT)
    with pytest.raises(UpstreamError) as raised:
        ask(make(), stream=False)
    assert (raised.value.code, raised.value.http_status) == ("timed_out", 504)
    record = only(office)
    assert (record.outcome, record.status, record.estimated) == (Outcome.ERROR, 504, True)
    assert record.output_tokens is None, "what it would have said is unknown"


def test_an_upstream_that_is_slow_and_right_is_waited_for(make: Make, office: Office, upstream: FakeUpstream) -> None:
    upstream.slow(CHAT, 0.3)
    assert [ask(make(), stream=stream) for stream in (False, True)] == ["Hello!", "Hello!"]
    assert [record.outcome for record in records(office)] == [Outcome.COMPLETE] * 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "estimated"),
    [
        (None, None, 5, True),
        ("a lot", None, 5, True),
        (tokens(-7, -3, -10), None, 5, True),
        (tokens("7", "3", "10"), None, 5, True),
        (tokens(10**12, 10**12, 2 * 10**12), None, 5, True),
        (tokens(7, 3, 99), 7, 3, False),
    ],
)
def test_wrong_usage_is_booked_as_over_http(
    make: Make, office: Office, upstream: FakeUpstream, usage: Any, prompt: int | None, completion: int,
    estimated: bool, stream: bool,
) -> None:  # fmt: skip
    if stream:
        counted = f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n".encode()
        upstream.behave(CHAT, pieces(chunk("four" * 5), chunk(finish="stop"), counted, END))
    else:
        upstream.status(CHAT, 200, {**ANSWER, "usage": usage})
    assert ask(make(), stream=stream) == "four" * 5
    record = only(office)
    assert (record.output_tokens, record.estimated) == (completion, estimated)
    assert record.input_tokens == prompt if prompt is not None else record.input_tokens
    assert record.cost is not None and 0 < record.cost < 1


def test_the_breaker_opens_lets_one_through_and_closes(
    make: Make, office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    """With the clock of the world: a target rests for ten seconds first."""
    settings.LLM_MAX_RETRIES = 0
    bundle = make()
    upstream.status(CHAT, 500, {"error": {"message": "Oops"}})
    for _ in range(THRESHOLD):
        with pytest.raises(ServerFailed):
            ask(bundle, stream=False)
    with pytest.raises(Overloaded, match="not being called now") as resting:
        ask(bundle, stream=True)
    assert 1 <= (resting.value.retry_after_s or 0) <= 10
    assert upstream.calls[CHAT] == THRESHOLD
    upstream.well(CHAT)
    end = time.monotonic() + WITHIN_S
    while True:
        try:
            assert ask(bundle, stream=False) == "Hello!"
            break
        except Overloaded:
            assert time.monotonic() < end
            time.sleep(0.2)
    assert [ask(bundle, stream=stream) for stream in (False, True)] == ["Hello!"] * 2
    assert upstream.calls[CHAT] == THRESHOLD + 3
    assert [record.outcome for record in records(office)] == [Outcome.ERROR] * THRESHOLD + [Outcome.COMPLETE] * 3
