"""iFlytek: speech over a WebSocket against its documentation and a server that checks signatures, and Spark's chats."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    PermissionDenied,
    QuotaExceeded,
    TimedOut,
    Unsupported,
    UpstreamError,
    WrongURL,
)
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Operation, SocketRequest, Speech
from tests.fakes.upstream import FakeUpstream
from tests.fakes.websockets import FakeWebSocket, cut
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden

KEYS = {"spark_api_key": "canary-0123456789-key", "spark_api_secret": "canary-0123456789-secret"}
TTS = Operation.SPEECH
spark = get("spark")
row = factory_of("xunfei-spark")
QUIRKS = Quirks.from_data(row["quirks"])
CASE = golden("spark", "speech")
FIELDS = CredentialFields(CASE["fields"])
TO = Target("F", "x4_xiaoyan", "https://spark-api-open.xf-yun.com/v1", quirks=QUIRKS, credential=FIELDS)


def test_a_request_is_one_message_as_documented() -> None:
    request = spark.build(TTS, CASE["payload"], TO)
    expected = CASE["request"]
    assert isinstance(request, SocketRequest)
    assert (request.method, request.url, request.headers) == (
        expected["method"],
        expected["url"],
        expected["headers"],
    )
    assert request.body is not None
    assert b"\n" not in request.body
    assert json.loads(request.body) == expected["json"]


def test_the_voice_of_the_request_comes_before_the_models_name() -> None:
    request = spark.build(TTS, {"input": "Hi", "voice": "aisjiuxu"}, TO)
    assert json.loads(request.body or b"")["business"]["vcn"] == "aisjiuxu"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://tts-api.xfyun.cn/v2", "wss://tts-api.xfyun.cn/v2/tts"),
        ("http://127.0.0.1:8080/v2/", "ws://127.0.0.1:8080/v2/tts"),
        ("https://proxy.example/https/v2/tts", "wss://proxy.example/https/v2/tts"),
    ],
)
def test_the_address_is_that_of_a_websocket(base_url: str, url: str) -> None:
    to = Target("F", "v", base_url, quirks=QUIRKS, credential=FIELDS, own_base_url=True)
    assert spark.build(TTS, {"input": "Hi"}, to).url == url


def test_pieces_become_one_file() -> None:
    body = "\n".join(map(json.dumps, CASE["messages"])).encode()
    assert spark.parse(TTS, 200, {}, body) == Speech(base64.b64decode(CASE["parsed"]), "audio/mpeg")


def test_the_last_message_is_known() -> None:
    request = spark.build(TTS, {"input": "Hi"}, TO)
    assert isinstance(request, SocketRequest)
    last = [request.is_last(json.dumps(message)) for message in CASE["messages"]]
    assert last == [False, False, True]
    assert request.is_last('{"code": 10163, "message": "m"}')
    assert request.is_last("no JSON")


@pytest.mark.parametrize("one", golden("spark", "errors")["cases"], ids=lambda one: json.dumps(one)[:90])
def test_an_error_is_a_member_of_the_tree(one: dict[str, Any]) -> None:
    exchanges.check_error(spark, TTS, one)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, BadRequest),
        ({"input": 1}, BadRequest),
        ({"input": "Hi", "voice": 1}, BadRequest),
        ({"input": "字" * 2667}, BadRequest),
        ({"input": "Hi", "volume": 101}, BadRequest),
        ({"input": "Hi", "pitch": "high"}, BadRequest),
        ({"input": "Hi", "rdn": {1}}, BadRequest),
        ({"input": "Hi", "speed": 2}, Unsupported),
        ({"input": "Hi", "response_format": "wav"}, Unsupported),
        ({"input": "Hi", "instructions": "angry"}, Unsupported),
    ],
)
def test_what_cannot_be_sent_is_refused(payload: dict[str, Any], kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        spark.build(TTS, payload, TO)
    assert caught.value.step == "build"


def test_an_app_id_is_needed() -> None:
    with pytest.raises(BadRequest, match="app id"):
        spark.build(TTS, {"input": "Hi"}, Target("F", "v", "https://tts-api.xfyun.cn/v2"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "data", "audio", "status"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(values, max_size=3), st.sampled_from([200, 302, 401, 403, 500]))
def test_no_answer_raises_anything_but_upstream_errors(messages: list[Any], status: int) -> None:
    for shape in (messages, [{"code": 0, "data": message} for message in messages]):
        lines = [json.dumps(message) for message in shape]
        try:
            spark.parse(TTS, status, JSON, "\n".join(lines).encode())
        except UpstreamError as error:
            assert error.step
        request = spark.build(TTS, {"input": "Hi"}, TO)
        assert isinstance(request, SocketRequest)
        for line in lines:
            request.is_last(line)


# Over a socket, against a server that checks the signature


def refuse(request: web.Request) -> web.Response | None:
    """None if the request is signed, by the server's own reckoning."""
    query = request.query
    if "authorization" not in query:
        return web.json_response({"message": "Unauthorized"}, status=401)
    if abs((datetime.now(UTC) - parsedate_to_datetime(query["date"])).total_seconds()) > 300:
        said = "HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"
        return web.json_response({"message": said}, status=403)
    said = base64.b64decode(query["authorization"]).decode()
    parts = dict(re.findall(r'(\w+)="([^"]*)"', said))
    lines = f"host: {request.headers['Host']}\ndate: {query['date']}\nGET {request.path} HTTP/1.1"
    right = base64.b64encode(hmac.digest(KEYS["spark_api_secret"].encode(), lines.encode(), hashlib.sha256)).decode()
    if (parts["api_key"], parts["signature"], query["host"]) == (KEYS["spark_api_key"], right, request.headers["Host"]):
        return None
    return web.json_response({"message": f"HMAC signature does not match for {parts['api_key']}: {said}"}, status=401)


async def speak(socket: web.WebSocketResponse, said: str) -> None:
    for message in CASE["messages"]:
        await socket.send_json(message)


def target(fake: FakeWebSocket, **changed: str) -> Target:
    credential = CredentialFields(CASE["fields"], OpenSecret(json.dumps({**KEYS, **changed}), origin_of(fake.url)))
    return Target(
        *("F", "x4_xiaoyan", f"{fake.root}/v2", QUIRKS.dialects[LLMType.TTS], QUIRKS.signers[LLMType.TTS], QUIRKS),
        credential=credential,
        own_base_url=True,
    )


def fail(kind: type[UpstreamError], to: Target, policy: Policy = POLICY) -> UpstreamError:
    with pytest.raises(kind) as caught:
        call(to, TTS, {"input": "Hi"}, policy=policy)
    assert type(caught.value) is kind
    shown = repr(vars(caught.value)) + str(caught.value)
    assert "canary" not in shown
    assert caught.value.__cause__ is None
    return caught.value


def test_a_probe_says_ok() -> None:
    with FakeWebSocket(speak, refuse=refuse) as fake:
        to = target(fake)
        dialect, operation = for_type(LLMType.TTS, to.dialect)
        assert dialect is spark
        reply = call(to, operation, probe_payload(LLMType.TTS, to.quirks), policy=POLICY)
        check_reply(LLMType.TTS, reply)
        assert reply == Speech(base64.b64decode(CASE["parsed"]), "audio/mpeg")
        assert fake.closed.wait(30)
    assert fake.opened[0].path == "/v2/tts"
    assert json.loads(fake.messages[0])["common"] == {"app_id": CASE["fields"]["spark_app_id"]}
    assert len(fake.messages) == 1


def test_a_wrong_signature_is_a_wrong_key_and_nothing_of_it_is_repeated() -> None:
    with FakeWebSocket(speak, refuse=refuse) as fake:
        for changed in ({"spark_api_secret": "canary-of-another-one"}, {"spark_api_key": "canary-of-another-one"}):
            error = fail(AuthenticationFailed, target(fake, **changed))
            assert "time of this machine" in error.hint
            sent = fake.opened[-1].query["authorization"]
            signature = re.findall('"([^"]+)"', base64.b64decode(sent).decode())[-1]
            assert sent not in repr(vars(error))
            assert signature not in repr(vars(error))
        assert fake.messages == []


def test_keys_are_not_used_for_another_address() -> None:
    with FakeWebSocket(speak, refuse=refuse) as fake:
        to = target(fake)
        elsewhere = CredentialFields(CASE["fields"], OpenSecret(json.dumps(KEYS), "https://tts-api.xfyun.cn:443"))
        to = Target(to.factory, to.model, to.base_url, to.dialect, to.signer, QUIRKS, elsewhere, own_base_url=True)
        assert fail(WrongURL, to).step == "sign"
        assert fake.opened == []


@pytest.mark.parametrize(
    ("code", "kind"), [(10163, BadRequest), (11200, PermissionDenied), (11201, QuotaExceeded), (10019, TimedOut)]
)
def test_an_error_in_a_message_ends_it_at_once(code: int, kind: type[UpstreamError]) -> None:
    async def complain(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_json(CASE["messages"][0])
        await socket.send_json({"code": code, "message": "no", "sid": "s"})

    with FakeWebSocket(complain, refuse=refuse) as fake:
        error = fail(kind, target(fake))
        assert (error.upstream_code, error.step) == (str(code), "status")


def test_audio_that_is_cut_off_is_a_bad_reply() -> None:
    async def half(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_json(CASE["messages"][0])
        await cut(socket)

    async def polite(socket: web.WebSocketResponse, said: str) -> None:
        await socket.send_json(CASE["messages"][0])
        await socket.close()

    for talk in (half, polite):
        with FakeWebSocket(talk, refuse=refuse) as fake:
            assert "cut off" in fail(BadReply, target(fake)).message


def test_silence_times_out_and_too_much_is_refused() -> None:
    async def silent(socket: web.WebSocketResponse, said: str) -> None:
        return None

    with FakeWebSocket(silent, refuse=refuse) as fake:
        short = Policy(POLICY.allowed_networks, connect_timeout_s=0.4, total_timeout_s=0.4)
        assert fail(TimedOut, target(fake), short).step == "headers"
    with FakeWebSocket(speak, refuse=refuse) as fake:
        assert "larger" in fail(BadReply, target(fake), Policy(POLICY.allowed_networks, max_body_bytes=100)).message


# Spark's chats, as the row calls them


@pytest.mark.parametrize(("name", "sent"), QUIRKS.name_map.items())
def test_a_chat_goes_out_under_the_name_that_spark_knows_with_its_password(name: str, sent: str) -> None:
    with FakeUpstream(key="canary-password", models=[sent]) as upstream:
        secret = OpenSecret(json.dumps({**KEYS, "spark_api_password": "canary-password"}), origin_of(upstream.url))
        to = Target(
            *("F", name, upstream.url, row["dialect"], row["signer"], QUIRKS, CredentialFields({}, secret)),
            own_base_url=True,
        )
        check_reply(LLMType.CHAT, call(to, Operation.CHAT, probe_payload(LLMType.CHAT, QUIRKS), policy=POLICY))
        assert upstream.requests[0].json["model"] == sent
        assert upstream.requests[0].headers["authorization"] == "Bearer canary-password"


def test_a_chat_that_failed_with_a_code_and_status_200_says_why() -> None:
    body = json.dumps({"code": 10013, "message": "input content audit fail", "sid": "s"}).encode()
    with pytest.raises(UpstreamError, match="audit fail") as caught:
        get("openai").parse(Operation.CHAT, 200, JSON, body)
    assert caught.value.upstream_code == "10013"
