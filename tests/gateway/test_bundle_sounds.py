"""The Python door: sound and transcripts as they come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from core.errors import InvalidInput, TooManyRequests
from gateway.bundle import LLMBundle
from providers.errors import BadReply, BadRequest, TimedOut
from providers.models import LLM
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import ACTOR, Office, endless
from tests.gateway.python_door import python_door, records
from tests.gateway.serving import add_model, make_service
from tests.gateway.test_chat import pieces
from tests.gateway.test_sound import DELTA, FIRST, SAID, SECOND, SPOKEN, TRANSCRIBED, event, sound, speaks
from usage.services import limits

pytestmark = pytest.mark.once

Make = Callable[..., LLMBundle]

WITHIN_S = 30
SPEECH, HEARD = "/audio/speech", "/audio/transcriptions"
RECORDING = b"RIFF\x00\xff"
EVENTS = [{"event": "delta", "text": "Hel"}, {"event": "delta", "text": "lo."}, {"event": "final", "text": "Hello."}]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


def test_sound_comes_while_it_is_made_and_is_metered_once(make: Make, office: Office, upstream: FakeUpstream) -> None:
    came = threading.Event()
    speaks(office, input_price=None, output_price=None, price_detail={"input_cost_per_character": "0.00002"})
    upstream.behave(SPEECH, sound(FIRST, SECOND, wait=lambda: came.wait(WITHIN_S)))
    bundle = make("tts")
    said = bundle.tts("Hellö", voice="alloy", stream_format="sse")
    assert next(said) == FIRST, "the upstream sends the rest only after this"
    came.set()
    *rest, tokens = said
    assert b"".join(rest) == SECOND
    assert tokens == 2
    assert upstream.requests[-1].json == {"model": "fake-tts", "input": "Hellö", "voice": "alloy"}
    assert (bundle.last_usage.characters, bundle.last_cost) == (5, Decimal("0.0001"))
    (record,) = records(office)
    assert (record.outcome, record.stream, record.characters, record.token_id) == ("complete", True, 5, None)
    assert record.cost == Decimal("0.0001")


def test_sound_that_an_upstream_tells_as_events_is_sound(make: Make, office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(SPEECH, pieces(DELTA, DELTA, SPOKEN))
    *parts, tokens = make("tts").tts("Hello")
    assert b"".join(parts) == b"\x00\x01\x02" * 2
    assert tokens == 2
    for before in ([], [DELTA]):
        upstream.behave(SPEECH, pieces(*before, event(type="speech.audio.delta", audio="…"), SPOKEN, pause_s=0.05))
        with pytest.raises(BadReply, match="base64"):
            list(make("tts").tts("Hello"))
    whole, at_once, later = records(office)
    assert (whole.outcome, whole.input_tokens, whole.audio_output_tokens) == ("complete", 14, 101)
    assert (at_once.outcome, at_once.error_code) == ("error", "bad_reply")
    assert later.error_code == "bad_reply"


def test_speech_of_another_format_comes_in_pieces_too(make: Make, office: Office, upstream: FakeUpstream) -> None:
    speaks(office, quirks={"dialects": {"tts": "fish_audio"}})
    upstream.raw("/tts", FIRST * 10_000, content_type="audio/mpeg")
    *parts, tokens = make("tts").tts("Hello", voice="a" * 32)
    assert b"".join(parts) == FIRST * 10_000
    assert max(map(len, parts)) <= 64 * 1024
    assert tokens == 2
    (record,) = records(office)
    assert (record.outcome, record.characters) == ("complete", 5)


def test_who_stops_listening_stops_the_speaker(make: Make, office: Office, upstream: FakeUpstream) -> None:
    broken: list[bool] = []
    upstream.behave(SPEECH, endless(FIRST, "audio/mpeg", broken))
    said = make("tts").tts("Hello")
    assert next(said) == FIRST
    said.close()
    wait_until(lambda: len(broken) == 1)

    async def listen() -> None:
        async with aclosing(make("tts").async_tts("Hello")) as sounds:
            async for piece in sounds:
                assert isinstance(piece, bytes)
                break

    asyncio.run(listen())
    wait_until(lambda: len(broken) == 2)
    assert [(one.outcome, one.status, one.characters) for one in records(office)] == [("client_gone", 499, 5)] * 2


def test_sound_that_breaks_off_or_stalls_is_raised(
    make: Make, office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.GATEWAY_IDLE_TIMEOUT_S = 0.5
    kinds = {BadReply: sound(FIRST, end=False), TimedOut: sound(FIRST, wait=lambda: upstream.closing.wait(WITHIN_S))}
    for kind, behaviour in kinds.items():
        upstream.behave(SPEECH, behaviour)
        said = make("tts", errors="text").tts("Hello")
        assert next(said) == FIRST
        with pytest.raises(kind):
            list(said)
    assert upstream.calls[SPEECH] == 2, "what has begun is not tried again"
    assert [one.outcome for one in records(office)] == ["upstream_cut"] * 2


def test_sound_that_never_begins_is_an_error_of_its_own(make: Make, office: Office, upstream: FakeUpstream) -> None:
    upstream.status(SPEECH, 400, {"error": {"message": "No such voice"}})
    with pytest.raises(BadRequest):
        list(make("tts").tts("Hello"))
    with pytest.raises(InvalidInput, match="speech"):
        list(make("speech2text").tts("Hello"))
    (record,) = records(office)
    assert (record.outcome, record.status) == ("error", 400)
    limits.create(tenant=office.tenant, requests_per_minute=1, actor=ACTOR)
    upstream.raw(SPEECH, FIRST, content_type="audio/mpeg")
    list(make("tts").tts("Hello"))
    with pytest.raises(TooManyRequests):
        list(make("tts").tts("Hello"))


def test_a_transcript_comes_as_events(make: Make, office: Office, upstream: FakeUpstream) -> None:
    came = threading.Event()

    def behave(handler: Handler) -> None:
        handler.close_connection = True
        handler.head(200, "text/event-stream", {})
        handler.wfile.write(SAID[0])
        handler.wfile.flush()
        came.wait(WITHIN_S)
        handler.wfile.write(SAID[1] + TRANSCRIBED)

    upstream.behave(HEARD, behave)
    bundle = make("speech2text")
    heard = bundle.stream_transcription(RECORDING, language="en")
    assert next(heard) == EVENTS[0], "the upstream sends the rest only after this"
    came.set()
    assert list(heard) == EVENTS[1:]
    body = upstream.requests[-1].body
    assert b'name="stream"\r\n\r\ntrue' in body
    assert b'name="language"\r\n\r\nen' in body
    assert (bundle.last_usage.audio_input_tokens, bundle.last_usage.output_tokens) == (14, 45)

    async def listen() -> list[dict[str, Any]]:
        return [one async for one in bundle.async_stream_transcription(RECORDING)]

    assert asyncio.run(listen()) == EVENTS
    for record in records(office):
        assert (record.outcome, record.stream, record.audio_input_tokens) == ("complete", True, 14)


def test_chunks_of_a_transcript_are_events_too(make: Make, office: Office, upstream: FakeUpstream) -> None:
    chunks = [event(object="transcription.chunk", choices=[{"delta": {"content": text}}]) for text in ("Hel", "lo.")]
    counted = event(object="transcription.chunk", choices=[], usage={"prompt_tokens": 9, "completion_tokens": 2})
    upstream.behave(HEARD, pieces(*chunks, counted, b"data: [DONE]\n\n"))
    assert list(make("speech2text").stream_transcription(RECORDING)) == EVENTS
    (record,) = records(office)
    assert (record.input_tokens, record.output_tokens) == (9, 2)


@pytest.mark.parametrize("what", ["an upstream that does not stream", "another format", "nothing was said"])
def test_a_transcript_that_comes_whole_is_one_event(
    make: Make, office: Office, upstream: FakeUpstream, what: str
) -> None:
    text = "" if what == "nothing was said" else "Hello."
    upstream.status(HEARD, 200, {"text": text, "usage": {"type": "duration", "seconds": 2}})
    if what == "another format":
        LLM.objects.filter(factory=office.factory, llm_name="fake-asr").update(
            quirks={"dialects": {"speech2text": "deepgram"}}
        )
        alternatives = [{"transcript": text, "confidence": 1}]
        found = {"metadata": {"duration": 2}, "results": {"channels": [{"alternatives": alternatives}]}}
        upstream.status("/listen", 200, found)
    events = list(make("speech2text").stream_transcription(RECORDING))
    assert events == [{"event": "final", "text": text, "streaming": False}]
    (record,) = records(office)
    assert (record.outcome, record.audio_ms) == ("complete", 2000)


@pytest.mark.parametrize("whose", ["a row that leaves it out", "a service that cannot"])
def test_who_cannot_stream_is_not_asked_to(make: Make, office: Office, upstream: FakeUpstream, whose: str) -> None:
    name = "fake-asr"
    if whose == "a service that cannot":
        upstream.key = None
        service = make_service(upstream, type="openai", capabilities={"streaming": False})
        name = add_model(service, name, model_types=["speech2text"]).full_name
    else:
        quirks = {"params_for": {"speech2text": {"drop": ["stream"]}}}
        LLM.objects.filter(factory=office.factory, llm_name=name).update(quirks=quirks)
    events = list(make("speech2text", name).stream_transcription(RECORDING))
    assert events == [{"event": "final", "text": "Hello.", "streaming": False}]
    assert b'name="stream"' not in upstream.requests[-1].body


def test_a_transcript_that_breaks_off_is_raised_or_told(make: Make, office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(HEARD, pieces(SAID[0], end=False))
    heard = make("speech2text").stream_transcription(RECORDING)
    assert next(heard) == EVENTS[0]
    with pytest.raises(BadReply):
        next(heard)
    first, error = make("speech2text", errors="text").stream_transcription(RECORDING)
    assert first == EVENTS[0]
    assert error["event"] == "error"
    assert error["text"].startswith("**ERROR**: ERROR_")
    assert [one.outcome for one in records(office)] == ["upstream_cut"] * 2


def test_who_stops_reading_a_transcript_stops_the_call(make: Make, office: Office, upstream: FakeUpstream) -> None:
    broken: list[bool] = []
    upstream.behave(HEARD, endless(SAID[0], "text/event-stream", broken))
    heard = make("speech2text").stream_transcription(RECORDING)
    assert next(heard) == EVENTS[0]
    heard.close()
    wait_until(lambda: bool(broken))
    (record,) = records(office)
    assert (record.outcome, record.status) == ("client_gone", 499)


def wait_until(there: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(WITHIN_S * 50):
        if there():
            return
        waiting.wait(0.02)
    raise AssertionError("It did not come about in time.")
