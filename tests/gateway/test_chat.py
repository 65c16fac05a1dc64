"""Chats through the gateway, whole and streamed, against an upstream on a real socket."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.app import Gateway
from tests.fakes.upstream import KEY, FakeUpstream, Handler
from tests.gateway.calling import Office, Reply, chat_body, endless, send
from usage.records import Outcome

PATH = "/v1/chat/completions"
CHAT = "/chat/completions"

ODD = b"""{ "id":"x-1",  "object":"chat.completion","created":1,"model":"fake-chat", "zeta": [1.50, 1e3],
 "choices":[{"index":0,"message":{"content":"Hi","role":"assistant","extra":null},"finish_reason":"stop"}],
 "usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"vendor":true}, "alpha": 9007199254740993 }"""


def test_an_answer_is_passed_on_byte_for_byte(office: Office, upstream: FakeUpstream) -> None:
    upstream.raw(CHAT, ODD, content_type="application/json; charset=utf-8")
    reply = office.chat()
    assert (reply.status, reply.body) == (200, ODD)
    assert reply.headers["content-type"] == "application/json; charset=utf-8"


def test_a_request_reaches_the_upstream_as_it_was_but_for_model_and_key(office: Office, upstream: FakeUpstream) -> None:
    asked = {
        "zeta": [1, {"b": 1, "a": 2}],
        "model": "fake-chat@Fake",
        "messages": [{"role": "user", "content": "Ünï"}],
        "seed": 2**70,
        "temperature": 0.25,
        "vendor_option": None,
    }
    assert office.ask(PATH, asked).status == 200
    received = upstream.requests[-1]
    assert json.loads(received.body) == {**asked, "model": "fake-chat"}
    assert list(json.loads(received.body)) == list(asked)
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert office.token not in received.body.decode() + str(received.headers)


def test_the_answer_says_what_it_cost_and_who_gave_it(office: Office) -> None:
    reply = office.chat()
    assert reply.headers["x-llmadmin-target"] == "fake-chat@Fake"
    assert reply.headers["x-llmadmin-attempts"] == "1"
    assert Decimal(reply.headers["x-llmadmin-cost-usd"]) == Decimal("0.000012")
    assert reply.headers["x-request-id"]


def test_each_call_ends_as_one_record(office: Office) -> None:
    office.chat(user="somebody")
    (record,) = office.records()
    assert (record.tenant_id, record.operation, record.outcome, record.status) == (
        office.tenant.pk,
        "chat",
        Outcome.COMPLETE,
        200,
    )
    assert (record.factory, record.llm_name, record.model) == ("Fake", "fake-chat", "fake-chat")
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.estimated) == (8, 2, False)
    assert record.cost == Decimal("0.000012")
    assert record.end_user == "somebody"
    assert record.tenant_llm_id == office.model().pk
    assert [(target, code) for target, code, _ in record.attempts] == [("fake-chat@Fake", "ok")]


def test_usage_that_the_upstream_does_not_count_is_estimated_and_marked(office: Office, upstream: FakeUpstream) -> None:
    said = {"index": 0, "message": {"role": "assistant", "content": "four" * 10}, "finish_reason": "stop"}
    upstream.status(CHAT, 200, {"id": "1", "object": "chat.completion", "choices": [said]})
    assert office.chat().status == 200
    (record,) = office.records()
    assert record.usage.estimated
    assert record.usage.output_tokens == 10
    assert record.usage.input_tokens


def streamed(office: Office, **more: Any) -> Reply:
    return office.chat(stream=True, **more)


def test_a_stream_is_passed_on_and_its_usage_counted_unseen(office: Office, upstream: FakeUpstream) -> None:
    reply = streamed(office)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, done = reply.events
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello!"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in chunks)
    assert upstream.requests[-1].json["stream_options"] == {"include_usage": True}
    (record,) = office.records()
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.estimated) == (8, 2, False)
    assert (record.outcome, record.stream) == (Outcome.COMPLETE, True)
    assert record.first_token_ms is not None


def test_a_stream_shows_its_usage_to_who_asks(office: Office) -> None:
    *_, usage, done = streamed(office, stream_options={"include_usage": True}).events
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 10
    assert done == "[DONE]"


def pieces(*parts: bytes, pause_s: float = 0.0, end: bool = True) -> Any:
    """A stream in these parts; without `end`, the connection breaks after them."""

    def behave(handler: Handler) -> None:
        handler.head(200, "text/event-stream", {"Transfer-Encoding": "chunked"})
        for part in parts:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            handler.wfile.flush()
            if pause_s:
                handler.server.fake.closing.wait(pause_s)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return behave


def chunk(content: str = "", finish: str | None = None, **more: Any) -> bytes:
    delta = {"content": content} if content else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'model': 'fake-chat', 'choices': [choice], **more})}\n\n".encode()


END = b"data: [DONE]\n\n"


def test_events_that_come_in_halves_leave_whole(office: Office, upstream: FakeUpstream) -> None:
    whole = chunk("Hel") + chunk("lo") + chunk(finish="stop") + END
    upstream.behave(CHAT, pieces(*(whole[start : start + 7] for start in range(0, len(whole), 7)), pause_s=0.001))
    reply = streamed(office)
    assert reply.body == whole
    assert all(piece.endswith(b"\n\n") for piece in reply.pieces if piece)


def test_a_stream_that_breaks_off_ends_with_an_error(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, pieces(chunk("Once upon a time"), end=False))
    reply = streamed(office)
    assert reply.status == 200
    first, error = reply.events
    assert first["choices"][0]["delta"]["content"] == "Once upon a time"
    assert error["error"]["code"] == "bad_reply"
    (record,) = office.records()
    assert (record.outcome, record.error_code) == (Outcome.UPSTREAM_CUT, "bad_reply")
    assert record.usage.estimated
    assert record.usage.output_tokens == 4


def test_a_stream_that_ends_without_its_end_is_a_broken_one(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, pieces(chunk("Once"), end=True))
    assert "error" in streamed(office).events[-1]
    upstream.behave(CHAT, pieces(chunk("Once"), chunk(finish="stop"), end=True))
    assert streamed(office).events[-1] == "[DONE]"


def test_an_error_in_a_stream_is_told_in_the_stream(office: Office, upstream: FakeUpstream) -> None:
    error = {"error": {"message": "Too many", "type": "requests", "code": "rate_limit_exceeded"}}
    upstream.behave(CHAT, pieces(chunk("On"), f"data: {json.dumps(error)}\n\n".encode(), END))
    first, told = streamed(office).events
    assert first["choices"][0]["delta"]["content"] == "On"
    assert told["error"]["code"] == "rate_limited"


def test_an_error_before_the_first_piece_is_an_answer_of_its_own(office: Office, upstream: FakeUpstream) -> None:
    upstream.status(CHAT, 400, {"error": {"message": "No such role", "type": "invalid_request_error"}})
    reply = streamed(office)
    assert reply.status == 400
    assert reply.error["code"] == "bad_request"
    assert "No such role" in reply.error["message"]


@pytest.mark.parametrize(
    ("status", "told", "param"),
    [
        (400, {"error": {"message": "must be at most 2", "param": "temperature"}}, "temperature"),
        (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Field required"}]}, "messages.0.role"),
        (400, {"error": {"message": "no", "param": None}}, None),
        (400, {"error": {"message": "no", "param": ["temperature"]}}, None),
        (401, {"error": {"message": "Incorrect API key", "param": "api_key"}}, None),
    ],
)
def test_the_parameter_that_an_upstream_objects_to_is_passed_on(
    office: Office, upstream: FakeUpstream, status: int, told: Any, param: str | None
) -> None:
    upstream.status(CHAT, status, told)
    assert office.chat().error["param"] == param


def test_comments_keep_a_slow_stream_alive(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.GATEWAY_KEEPALIVE_S = 0.1

    def slow(handler: Handler) -> None:
        handler.server.fake.closing.wait(0.6)
        handler.answer()

    upstream.behave(CHAT, slow)
    reply = streamed(office)
    assert reply.status == 200
    assert reply.body.startswith(b": keep-alive\n\n")
    assert reply.events[-1] == "[DONE]"


def test_no_comment_waits_behind_what_a_slow_caller_has_yet_to_take(office: Office, settings: Any) -> None:
    settings.GATEWAY_KEEPALIVE_S = 0.1
    said: list[bytes] = []

    async def run(gateway: Gateway) -> None:
        asked = iter([json.dumps(chat_body(stream=True)).encode()])

        async def receive() -> Any:
            for body in asked:
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()

        async def slowly(message: Any) -> None:
            await asyncio.sleep(0.5)  # as where the socket's buffer is full
            said.append(message.get("body", b""))

        headers = [(b"authorization", f"Bearer {office.token}".encode())]
        await gateway({"type": "http", "method": "POST", "path": PATH, "headers": headers}, receive, slowly)
        ended = len(said)
        await asyncio.sleep(0.6)
        assert len(said) == ended

    office.use(run)
    assert b"keep-alive" not in b"".join(said)
    assert said[-1].endswith(b"data: [DONE]\n\n")


def test_who_leaves_ends_the_call_upstream(office: Office, upstream: FakeUpstream) -> None:
    broken: list[bool] = []
    upstream.behave(CHAT, endless(chunk("Once"), "text/event-stream", broken))

    async def run(gateway: Gateway) -> Reply:
        leave = asyncio.Event()
        reply = await send(
            gateway,
            PATH,
            chat_body(stream=True),
            token=office.token,
            leave=leave,
            on_piece=lambda _: leave.set(),
        )
        for _ in range(200):
            if broken:
                break
            await asyncio.sleep(0.02)
        return reply

    assert office.use(run).status == 200
    assert broken
    (record,) = office.records()
    assert (record.outcome, record.status) == (Outcome.CLIENT_GONE, 499)
    assert record.usage.estimated


def test_who_leaves_before_an_answer_is_recorded_too(office: Office, upstream: FakeUpstream) -> None:
    upstream.hang(CHAT)

    async def run(gateway: Gateway) -> Reply:
        leave = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, leave.set)
        return await send(gateway, PATH, chat_body(), token=office.token, leave=leave)

    assert office.use(run).status == 0
    (record,) = office.records()
    assert record.outcome == Outcome.CLIENT_GONE


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b"[]", 400, "JSON object"),
        (b"{}", 404, "model"),
        (b'{"model": 7}', 400, "model"),
        (b'{"model": "fake-chat"}', 400, "messages"),
        (b'{"model": "fake-chat", "messages": [], "stream": "yes"}', 400, "stream"),
        (b'{"model": "nothing", "messages": [{}]}', 404, "does not exist"),
        (b'{"model": "fake-embedding", "messages": [{}]}', 400, "embedding"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(
    office: Office, upstream: FakeUpstream, body: bytes, status: int, says: str
) -> None:
    reply = office.ask(PATH, body)
    assert reply.status == status
    assert says in reply.error["message"]
    assert upstream.total_calls == 0
    assert [record for record in office.records() if record.status == 200] == []


def test_a_request_that_is_too_large_is_refused(office: Office, upstream: FakeUpstream, settings: Any) -> None:
    settings.GATEWAY_MAX_REQUEST_BYTES = 2000
    assert office.chat(filler="x" * 3000).status == 413
    assert upstream.total_calls == 0
