"""What a tenant's Langfuse hears of its calls, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from core.origins import origin_of
from core.secrets import OpenSecret
from gateway import metrics, tracing
from gateway.app import Gateway
from gateway.snapshot import Tracing
from gateway.traces import LEFT_OUT, MAX_CONTENT_BYTES, Ended, events
from tenants.models import LangfuseProject
from tenants.services import langfuse
from tests.fakes.langfuse import INGESTION, PUBLIC_KEY, SECRET_KEY, FakeLangfuse
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import ACTOR, Office, Reply, chat_body, send
from tests.gateway.test_chat import pieces
from tests.gateway.test_metrics import record
from tests.gateway.test_operations import upload
from tests.gateway.test_sound import event

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """A process with an exporter of its own, which does not wait long."""
    usual = tracing.exporter
    tracing.exporter = tracing.Exporter(interval_s=0.02, later_s=(0.01,))
    yield
    tracing.exporter.close(30)
    tracing.exporter = usual


def trace_to(office: Office, server: FakeLangfuse, *, content: bool = False) -> LangfuseProject:
    return langfuse.save(
        tenant=office.tenant,
        host=server.url,
        public_key=PUBLIC_KEY,
        secret_key=SECRET_KEY,
        content=content,
        actor=ACTOR,
    )


def counted(outcome: str) -> int:
    return metrics.counts.traces.get(outcome, 0)


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {**chat_body(), "messages": [{"role": "user", "content": text}], **more}


def test_a_call_becomes_a_trace_without_what_was_said(office: Office, langfuse_server: FakeLangfuse) -> None:
    trace_to(office, langfuse_server)
    body = asked("a-private-question", user="user-7")
    reply = office.ask(CHAT, body, headers={"x-request-id": "my-request-77"})
    (generation,) = langfuse_server.wait_for(1)
    (trace,) = langfuse_server.of("trace-create")
    (kept,) = office.records()
    assert (trace["id"], trace["name"], trace["userId"]) == ("my-request-77", "chat", "user-7")
    assert generation | {
        "id": kept.id, "traceId": "my-request-77", "name": "chat", "model": "fake-chat", "level": "DEFAULT",
    } == generation  # fmt: skip
    assert generation["usageDetails"] == {
        "input": kept.usage.prompt_tokens, "output": kept.usage.completion_tokens,
    }  # fmt: skip
    assert kept.cost is not None
    assert generation["costDetails"] == {"total": float(kept.cost)}
    assert generation["startTime"] <= generation["endTime"]
    about = generation["metadata"]
    assert (about["status"], about["outcome"], about["factory"]) == (200, "complete", "Fake")
    assert [one["target"] for one in about["attempts"]] == ["fake-chat@Fake"]
    sent = json.dumps(langfuse_server.events)
    said = reply.data["choices"][0]["message"]["content"]
    assert not any(text in sent for text in ("a-private-question", said, office.token, SECRET_KEY))


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_said_is_sent_where_the_tenant_wants_it(
    office: Office, langfuse_server: FakeLangfuse, stream: bool
) -> None:
    trace_to(office, langfuse_server, content=True)
    reply = office.ask(CHAT, asked("a-public-question", stream=stream))
    assert reply.status == 200
    (generation,) = langfuse_server.wait_for(1)
    assert generation["input"] == [{"role": "user", "content": "a-public-question"}]
    if stream:
        deltas = [choice["delta"] for event in reply.events[:-1] for choice in event["choices"]]
        said = "".join(delta.get("content") or "" for delta in deltas)
        assert generation["completionStartTime"] >= generation["startTime"]
    else:
        said = reply.data["choices"][0]["message"]["content"]
    assert said and generation["output"]["content"] == said
    assert langfuse_server.of("trace-create")[0]["output"] == generation["output"]


def test_a_streamed_transcript_is_sent_as_a_text_and_sound_never(
    office: Office, upstream: FakeUpstream, langfuse_server: FakeLangfuse
) -> None:
    trace_to(office, langfuse_server, content=True)
    said = [event(type="transcript.text.delta", delta=text) for text in ("Hel", "lo.")]
    done = event(type="transcript.text.done", text="Hello.")
    upstream.behave("/audio/transcriptions", pieces(*said, done))
    assert upload(office, stream="true").status == 200
    upstream.raw("/audio/speech", b"a-sound", content_type="audio/mpeg")
    assert office.ask("/v1/audio/speech", {"model": "fake-tts", "input": "a-text"}).status == 200
    transcript, speech = sorted(langfuse_server.wait_for(2), key=lambda one: one["startTime"])
    assert (transcript["output"], "input" in transcript) == ("Hello.", False)
    assert (speech["input"], "output" in speech) == ("a-text", False)
    assert "a-sound" not in json.dumps(langfuse_server.events)


def test_an_application_names_its_own_trace(office: Office, langfuse_server: FakeLangfuse) -> None:
    trace_to(office, langfuse_server)
    about = {"trace_id": "trace-1", "trace_name": "answer", "session_id": "s-1", "tags": ["a", 7, "b"]}

    async def twice(gateway: Gateway) -> None:
        for _ in range(2):
            await send(gateway, CHAT, asked("x", metadata=about), token=office.token)

    office.use(twice)
    generations = langfuse_server.wait_for(2)
    assert [one["traceId"] for one in generations] == ["trace-1", "trace-1"]
    trace = langfuse_server.of("trace-create")[0]
    assert (trace["id"], trace["name"], trace["sessionId"], trace["tags"]) == ("trace-1", "answer", "s-1", ["a", "b"])


@pytest.mark.parametrize("metadata", [7, [], {"trace_id": 5, "tags": "a"}, {"trace_id": "a\nb", "session_id": None}])
def test_odd_metadata_does_no_harm(office: Office, langfuse_server: FakeLangfuse, metadata: Any) -> None:
    trace_to(office, langfuse_server)
    office.ask(CHAT, asked("x", metadata=metadata), headers={"x-request-id": "my-request-78"})
    (generation,) = langfuse_server.wait_for(1)
    assert generation["traceId"] == "my-request-78"


def test_a_call_that_failed_is_traced_as_one(
    office: Office, upstream: FakeUpstream, langfuse_server: FakeLangfuse
) -> None:
    trace_to(office, langfuse_server)
    upstream.status("/chat/completions", 401, {"error": {"message": "your key is sk-echoed-key-123"}})
    assert office.chat().status == 401
    (generation,) = langfuse_server.wait_for(1)
    assert (generation["level"], generation["statusMessage"]) == ("ERROR", "authentication_failed")
    assert "sk-echoed" not in json.dumps(langfuse_server.events)


def test_other_kinds_of_calls_are_traced_too(office: Office, langfuse_server: FakeLangfuse) -> None:
    trace_to(office, langfuse_server, content=True)
    office.ask("/v1/embeddings", {"model": "fake-embedding", "input": ["one", "two"]})
    (generation,) = langfuse_server.wait_for(1)
    assert (generation["name"], generation["input"]) == ("embeddings", ["one", "two"])
    assert "output" not in generation


def test_nobody_else_is_traced_and_deletion_is_heeded(office: Office, langfuse_server: FakeLangfuse) -> None:
    row = trace_to(office, langfuse_server)

    async def work(gateway: Gateway) -> tuple[bool, bool]:
        found = await gateway.store.find(_digest(office.token))
        await asyncio.to_thread(_delete, row)
        end = time.monotonic() + 30
        while (now := await gateway.store.find(_digest(office.token))) is not None and now[1].tracing is not None:
            assert time.monotonic() < end, "the deletion went unnoticed"
            await asyncio.sleep(0.02)
        assert (await send(gateway, CHAT, chat_body(), token=office.token)).status == 200
        return found is not None and found[1].tracing is not None, now is not None

    assert office.use(work) == (True, True)
    assert tracing.exporter.waiting == 0 and langfuse_server.calls[INGESTION] == 0


def test_calls_do_not_wait_for_langfuse_that_hangs(office: Office, langfuse_server: FakeLangfuse) -> None:
    trace_to(office, langfuse_server)
    langfuse_server.hang(INGESTION)

    async def work(gateway: Gateway) -> list[Reply]:
        return [await send(gateway, CHAT, chat_body(), token=office.token) for _ in range(3)]

    assert [reply.status for reply in office.use(work)] == [200, 200, 200]
    assert tracing.exporter.waiting == 3
    langfuse_server.closing.set()


def test_what_langfuse_does_not_take_is_tried_again_then_dropped_and_counted(
    office: Office, langfuse_server: FakeLangfuse
) -> None:
    trace_to(office, langfuse_server)
    answers = iter([503, 429])

    def ill_at_first(handler: Handler) -> None:
        if (status := next(answers, None)) is not None:
            handler.json({}, status=status)
        else:
            langfuse_server.take(handler)

    langfuse_server.behave(INGESTION, ill_at_first)
    before = counted("sent")
    office.chat()
    langfuse_server.wait_for(1)
    assert tracing.exporter.flush(30)
    assert (langfuse_server.calls[INGESTION], counted("sent")) == (3, before + 1)

    for status, outcome, tries in ((500, "refused", 3), (401, "refused", 1), (413, "refused", 1)):
        langfuse_server.status(INGESTION, status, {})
        calls, before = langfuse_server.calls[INGESTION], counted(outcome)
        office.chat()
        assert tracing.exporter.flush(30)
        assert (langfuse_server.calls[INGESTION], counted(outcome)) == (calls + tries, before + 1)
    langfuse_server.hang_up(INGESTION)
    before = counted("dropped")
    office.chat()
    assert tracing.exporter.flush(30)
    assert counted("dropped") == before + 1


def waiting(host: str, size_bytes: int = 0) -> Ended:
    origin = origin_of(host)
    return Ended(Tracing("t", host, OpenSecret("public:secret", origin), True), record(), {}, size_bytes=size_bytes)


def test_what_waits_is_bounded_for_each_and_for_all() -> None:
    exporter = tracing.Exporter(interval_s=3600)
    before, one = counted("dropped"), waiting("http://127.0.0.1:9")
    for _ in range(tracing.MAX_WAITING_OF_ONE + 10):
        exporter.add(one)
    assert (exporter.waiting, counted("dropped")) == (tracing.MAX_WAITING_OF_ONE, before + 10)
    half = tracing.MAX_WAITING_BYTES // 2
    for number in range(4):
        exporter.add(waiting(f"http://127.0.0.1:{number + 10}", half))
    assert (exporter.waiting, counted("dropped")) == (tracing.MAX_WAITING_OF_ONE + 2, before + 12)
    exporter.close(30)


def test_content_that_is_too_large_is_left_out() -> None:
    one = waiting("http://127.0.0.1:9")
    large = Ended(one.tracing, record(), {"messages": [{"role": "user", "content": "x" * MAX_CONTENT_BYTES}]})
    assert [event["body"]["input"] for event in events(large)] == [LEFT_OUT, LEFT_OUT]


def test_a_stream_is_put_together_with_its_tools() -> None:
    def piece(**delta: Any) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    call = {"index": 0, "id": "call-1", "function": {"name": "look", "arguments": '{"a"'}}
    heard = (
        piece(role="assistant", content="He"), piece(content="llo"),
        piece(tool_calls=[call]), piece(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        b": keep-alive\n\n", b"data: [DONE]\n\n", b'data: {"choices": [{"del',
    )  # fmt: skip
    one = waiting("http://127.0.0.1:9")
    (_, generation) = events(Ended(one.tracing, record(), {}, heard=heard))
    assert generation["body"]["output"] == {
        "role": "assistant",
        "content": "Hello",
        "tool_calls": [{"id": "call-1", "name": "look", "arguments": '{"a": 1}'}],
    }


def _delete(row: LangfuseProject) -> None:
    from django.db import connections

    with transaction.atomic():
        langfuse.delete(row, actor=ACTOR)
    connections.close_all()


def _digest(token: str) -> str:
    from tenants.services import tokens

    return tokens.digest(token)
