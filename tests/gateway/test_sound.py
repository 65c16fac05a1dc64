"""Speech and transcripts through the gateway as they come: passed on, metered once, never begun anew."""

from __future__ import annotations

import asyncio
import base64
import json
from decimal import Decimal
from typing import Any

import pytest
import uvicorn

from gateway.app import Gateway
from llmadmin.http import HttpProtocol
from providers.models import LLM
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import ACTOR, Office, Reply, endless, send
from tests.gateway.test_chat import pieces
from tests.gateway.test_operations import upload
from usage.models import BudgetPeriod
from usage.records import CallRecord, Outcome, Usage
from usage.services import budgets

pytestmark = pytest.mark.once

SPEECH, UP = "/v1/audio/speech", "/audio/speech"
HEARD = "/audio/transcriptions"
SAY = {"model": "fake-tts", "input": "Hellö", "voice": "alloy"}
FIRST, SECOND = b"\xff\xfb first data: \n\n", b"\x00\x01 second"
WITHIN_S = 20


def event(**data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def only(office: Office) -> CallRecord:
    (record,) = office.records()
    return record


def sound(*parts: bytes, kind: str = "audio/mpeg", end: bool = True, wait: Any = None) -> Any:
    """Sound in these parts; `wait` is called between them."""

    def behave(handler: Handler) -> None:
        handler.head(200, kind, {"Transfer-Encoding": "chunked"})
        for part in parts:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            handler.wfile.flush()
            if wait is not None:
                wait()
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return behave


def speaks(office: Office, **columns: Any) -> None:
    LLM.objects.filter(factory=office.factory, llm_name="fake-tts").update(**columns)


def test_sound_is_passed_on_while_it_comes(office: Office, upstream: FakeUpstream) -> None:
    came = asyncio.Event()
    speaks(office, input_price=None, output_price=None, price_detail={"input_cost_per_character": "0.00002"})

    async def run(gateway: Gateway) -> Reply:
        loop = asyncio.get_running_loop()

        def second_only_after_the_first_arrived() -> None:
            asyncio.run_coroutine_threadsafe(came.wait(), loop).result(WITHIN_S)

        upstream.behave(UP, sound(FIRST, SECOND, wait=second_only_after_the_first_arrived))
        return await send(gateway, SPEECH, SAY, token=office.token, on_piece=lambda _: came.set())

    reply = office.use(run)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, FIRST + SECOND, "audio/mpeg")
    assert reply.pieces[0] == FIRST
    assert upstream.requests[-1].json == SAY
    assert Decimal(reply.headers["x-llmadmin-cost-usd"]) == Decimal("0.0001")
    assert reply.headers["x-llmadmin-target"] == "fake-tts@Fake"
    record = only(office)
    assert (record.outcome, record.usage, record.cost) == (Outcome.COMPLETE, Usage(characters=5), Decimal("0.0001"))
    assert record.stream and record.first_token_ms is not None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("audio/L16; rate=24000", "audio/L16; rate=24000"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("audio/" + "x" * 1000, "application/octet-stream"),
    ],
)
def test_only_sound_keeps_the_name_that_the_upstream_gives_it(
    office: Office, upstream: FakeUpstream, said: str, told: str
) -> None:
    upstream.behave(UP, sound(FIRST, kind=said))
    reply = office.ask(SPEECH, SAY)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, FIRST, told)


DELTA = event(type="speech.audio.delta", audio="AAEC")
SPOKEN = event(type="speech.audio.done", usage={"input_tokens": 14, "output_tokens": 101, "total_tokens": 115})


def test_speech_as_events_is_passed_on_and_its_tokens_counted(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(UP, pieces(DELTA, DELTA, SPOKEN))
    reply = office.ask(SPEECH, {**SAY, "stream_format": "sse"})
    assert upstream.requests[-1].json["stream_format"] == "sse"
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.body == DELTA + DELTA + SPOKEN
    record = only(office)
    assert record.usage == Usage(characters=5, input_tokens=14, audio_output_tokens=101)
    assert record.outcome == Outcome.COMPLETE


def test_speech_of_another_format_comes_whole(office: Office, upstream: FakeUpstream) -> None:
    speaks(office, quirks={"dialects": {"tts": "fish_audio"}})
    upstream.raw("/tts", FIRST, content_type="audio/mpeg")
    plain = office.ask(SPEECH, {**SAY, "voice": "a" * 32, "stream_format": "audio"})
    assert (plain.status, plain.body, plain.headers["content-type"]) == (200, FIRST, "audio/mpeg")
    told = office.ask(SPEECH, {**SAY, "voice": "a" * 32, "stream_format": "sse"})
    delta, done = told.events
    assert (delta["type"], base64.b64decode(delta["audio"])) == ("speech.audio.delta", FIRST)
    assert done == {"type": "speech.audio.done"}
    assert [record.usage for record in office.records()] == [Usage(characters=5)] * 2


NO_SOUND: dict[str, tuple[Any, int, str, int]] = {
    "500": (lambda up: up.status(UP, 500, {"error": {"message": "Oops"}}), 502, "server_failed", 2),
    "429": (lambda up: up.rate_limited(UP, retry_after="0"), 429, "rate_limited", 2),
    "400": (lambda up: up.status(UP, 400, {"error": {"message": "No such voice"}}), 400, "bad_request", 1),
    "a redirect": (lambda up: up.redirect(UP, "http://127.0.0.1:1/"), 502, "wrong_url", 1),
    "an error in a 200": (lambda up: up.status(UP, 200, {"error": {"message": "x"}}), 502, "", 1),
    "HTML": (lambda up: up.html(UP), 502, "bad_reply", 1),
    "nothing": (lambda up: up.raw(UP, b"", content_type="audio/mpeg"), 502, "bad_reply", 1),
    "no connection": (lambda up: up.hang_up(UP), 502, "unreachable", 2),
}


@pytest.mark.parametrize("what", list(NO_SOUND))
def test_what_is_no_sound_is_an_error_of_its_own(
    office: Office, upstream: FakeUpstream, settings: Any, what: str
) -> None:
    settings.LLM_MAX_RETRIES = 1
    fault, status, code, tries = NO_SOUND[what]
    fault(upstream)
    reply = office.ask(SPEECH, SAY)
    assert reply.status == status or not code
    assert reply.error["code"] == code or not code
    record = only(office)
    assert (record.outcome, record.status, len(record.attempts)) == (Outcome.ERROR, reply.status, tries)


def test_a_failure_before_the_first_byte_is_tried_again(office: Office, upstream: FakeUpstream) -> None:
    left = [1]

    def once(handler: Handler) -> None:
        if left:
            left.pop()
            handler.json({"error": {"message": "no"}}, status=503)
        else:
            handler.reply(200, "audio/mpeg", FIRST, {})

    upstream.behave(UP, once)
    assert office.ask(SPEECH, SAY).body == FIRST
    assert [code for _, code, _ in only(office).attempts] == ["overloaded", "ok"]


def config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(gateway, port=0, http=HttpProtocol, ws="none", lifespan="off", log_level="critical")


async def over_http(gateway: Gateway, office: Office, body: dict[str, Any]) -> bytes:
    """All bytes that a real server sent until it closed the connection."""
    server = uvicorn.Server(config(gateway))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    reader, writer = await asyncio.open_connection(host, port)
    raw = json.dumps(body).encode()
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {office.token}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    try:
        return await asyncio.wait_for(reader.read(), WITHIN_S)
    finally:
        writer.close()
        server.should_exit = True
        await serving


def test_a_client_sees_that_sound_is_whole_or_was_cut(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(UP, sound(FIRST, SECOND))
    whole = office.use(lambda gateway: over_http(gateway, office, SAY))
    assert whole.endswith(b"\r\n0\r\n\r\n")
    upstream.behave(UP, sound(FIRST, end=False))
    cut = office.use(lambda gateway: over_http(gateway, office, SAY))
    assert FIRST in cut and not cut.endswith(b"0\r\n\r\n"), "the end of the body never comes"
    assert upstream.calls[UP] == 2, "what has begun is not tried again"
    complete, broken = office.records()
    assert (complete.outcome, broken.outcome) == (Outcome.COMPLETE, Outcome.UPSTREAM_CUT)
    assert (broken.error_code, broken.usage) == ("bad_reply", Usage(characters=5))


def test_a_stall_in_the_middle_of_sound_is_a_cut(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.GATEWAY_IDLE_TIMEOUT_S = 0.3
    upstream.behave(UP, sound(FIRST, wait=lambda: upstream.closing.wait(WITHIN_S)))
    reply = office.ask(SPEECH, SAY)
    assert (reply.status, reply.body) == (200, FIRST)
    record = only(office)
    assert (record.outcome, record.error_code) == (Outcome.UPSTREAM_CUT, "timed_out")


def test_events_of_speech_that_break_off_end_with_an_error(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(UP, pieces(DELTA))
    delta, error = office.ask(SPEECH, {**SAY, "stream_format": "sse"}).events
    assert (delta["type"], error["error"]["code"]) == ("speech.audio.delta", "bad_reply")
    assert only(office).outcome == Outcome.UPSTREAM_CUT


@pytest.mark.parametrize("what", ["sound", "events"])
def test_who_leaves_ends_the_call_upstream(office: Office, upstream: FakeUpstream, what: str) -> None:
    broken: list[bool] = []
    part, kind = (FIRST, "audio/mpeg") if what == "sound" else (DELTA, "text/event-stream")

    upstream.behave(UP, endless(part, kind, broken))

    async def run(gateway: Gateway) -> Reply:
        leave = asyncio.Event()
        how: dict[str, Any] = {"token": office.token, "leave": leave, "on_piece": lambda _: leave.set()}
        reply = await send(gateway, SPEECH, SAY, **how)
        async with asyncio.timeout(WITHIN_S):
            while not broken:
                await asyncio.sleep(0.02)
        return reply

    assert office.use(run).status == 200
    record = only(office)
    assert (record.outcome, record.status, record.usage) == (Outcome.CLIENT_GONE, 499, Usage(characters=5))


SAID = [event(type="transcript.text.delta", delta=text) for text in ("Hel", "lo.")]
USAGE = {"type": "tokens", "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
         "output_tokens": 45, "total_tokens": 59}  # fmt: skip
TRANSCRIBED = event(type="transcript.text.done", text="Hello.", usage=USAGE, vendor=1.50)


def test_a_transcript_is_passed_on_event_by_event(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(HEARD, pieces(*SAID, TRANSCRIBED))
    reply = upload(office, stream="true")
    assert (reply.status, reply.body) == (200, b"".join(SAID) + TRANSCRIBED)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert b'name="stream"\r\n\r\ntrue' in upstream.requests[-1].body
    record = only(office)
    assert record.usage == Usage(input_tokens=0, audio_input_tokens=14, output_tokens=45)
    assert (record.outcome, record.stream) == (Outcome.COMPLETE, True)


def test_chunks_that_have_no_type_end_with_their_own_end(office: Office, upstream: FakeUpstream) -> None:
    """As vLLM streams transcripts: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"""
    chunks = [event(object="transcription.chunk", choices=[{"delta": {"content": text}}]) for text in ("Hel", "lo.")]
    counted = event(object="transcription.chunk", choices=[], usage={"prompt_tokens": 9, "completion_tokens": 2})
    upstream.behave(HEARD, pieces(*chunks, counted, b"data: [DONE]\n\n"))
    reply = upload(office, stream="true")
    assert reply.body == b"".join([*chunks, counted, b"data: [DONE]\n\n"])
    assert only(office).usage == Usage(input_tokens=9, output_tokens=2)


@pytest.mark.parametrize("what", ["an upstream that does not stream", "text", "another format"])
def test_a_whole_transcript_comes_as_events_too(office: Office, upstream: FakeUpstream, what: str) -> None:
    heard, more = {"text": "Hello.", "usage": {"type": "duration", "seconds": 2}}, {}
    if what == "another format":
        LLM.objects.filter(factory=office.factory, llm_name="fake-asr").update(
            quirks={"dialects": {"speech2text": "deepgram"}}
        )
        alternatives = [{"transcript": "Hello.", "confidence": 1}]
        heard = {"metadata": {"duration": 2}, "results": {"channels": [{"alternatives": alternatives}]}}
        upstream.status("/listen", 200, heard)
    elif what == "text":
        more = {"response_format": "text"}
        upstream.raw(HEARD, b"Hello.", content_type="text/plain")
    else:
        upstream.status(HEARD, 200, heard)
    reply = upload(office, stream="true", **more)
    assert reply.status == 200, reply.body
    delta, done = reply.events
    assert delta == {"type": "transcript.text.delta", "delta": "Hello."}
    assert (done["type"], done["text"]) == ("transcript.text.done", "Hello.")
    record = only(office)
    assert record.outcome == Outcome.COMPLETE
    assert record.usage.audio_ms == (None if what == "text" else 2000)


def test_a_transcript_that_breaks_off_is_a_cut_of_unknown_cost(office: Office, upstream: FakeUpstream) -> None:
    for end in (True, False):
        upstream.behave(HEARD, pieces(SAID[0], end=end))
        delta, error = upload(office, stream="true").events
        assert (delta["delta"], error["error"]["code"]) == ("Hel", "bad_reply")
    for record in office.records():
        assert (record.outcome, record.usage, record.cost) == (Outcome.UPSTREAM_CUT, Usage(), None)
    assert upstream.calls[HEARD] == 2


def test_an_error_among_the_events_is_told(office: Office, upstream: FakeUpstream) -> None:
    failed = {"error": {"message": "Too many", "code": "rate_limit_exceeded"}}
    upstream.behave(HEARD, pieces(SAID[0], event(**failed)))
    assert upload(office, stream="true").events[-1]["error"]["code"] == "rate_limited"
    upstream.status(HEARD, 400, {"error": {"message": "Not a recording"}})
    refused = upload(office, stream="true")
    assert (refused.status, refused.error["code"]) == (400, "bad_request")


def test_comments_keep_a_slow_transcript_alive_and_no_sound(
    office: Office, upstream: FakeUpstream, settings: Any
) -> None:
    settings.GATEWAY_KEEPALIVE_S = 0.1

    def late(answer: Any) -> Any:
        def behave(handler: Handler) -> None:
            handler.server.fake.closing.wait(0.5)
            answer(handler)

        return behave

    upstream.behave(HEARD, late(pieces(*SAID, TRANSCRIBED)))
    assert upload(office, stream="true").body.startswith(b": keep-alive\n\n")
    upstream.behave(UP, late(sound(FIRST, SECOND, wait=lambda: upstream.closing.wait(0.3))))
    assert office.ask(SPEECH, SAY).body == FIRST + SECOND


def test_a_budget_knows_beforehand_what_is_to_be_spoken(office: Office, upstream: FakeUpstream) -> None:
    """64 callers want to have five characters spoken each; the budget holds fifteen."""
    speaks(office, input_price=None, output_price=None, price_detail={"input_cost_per_character": "0.00002"})
    budgets.create(tenant=office.tenant, amount=Decimal("0.0003"), period=BudgetPeriod.DAY, actor=ACTOR)

    async def run(gateway: Gateway) -> list[int]:
        asked = [send(gateway, SPEECH, SAY, token=office.token) for _ in range(64)]
        return sorted([reply.status for reply in await asyncio.gather(*asked)])

    assert office.use(run) == [200] * 3 + [429] * 61
    assert sum(record.cost or 0 for record in office.records()) == Decimal("0.0003")
    assert upstream.calls[UP] == 3


def test_vectors_are_never_streamed(office: Office, upstream: FakeUpstream) -> None:
    reply = office.ask("/v1/embeddings", {"model": "fake-embedding", "input": "x", "stream": True})
    assert (reply.status, reply.error["param"]) == (400, "stream")
