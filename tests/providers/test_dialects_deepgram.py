"""Deepgram's transcription against its documentation, and over real sockets as GreenPT's row has it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import OpenSecret
from providers import signers
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import AuthenticationFailed, BadReply, BadRequest, RateLimited, Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation, Transcript
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden

ASR = Operation.TRANSCRIPTION
deepgram = get("deepgram")


def answer(*channels: Any, **metadata: Any) -> bytes:
    return json.dumps({"metadata": metadata, "results": {"channels": list(channels)}}).encode()


def said(*texts: str) -> dict[str, Any]:
    return {"alternatives": [{"transcript": text} for text in texts]}


def test_a_request_is_raw_audio_with_a_query() -> None:
    case = golden("deepgram", "transcription")
    audio, expected = base64.b64decode(case["audio"]), case["request"]
    request = deepgram.build(ASR, {**case["payload"], "file": audio}, exchanges.target(case))
    assert (request.method, request.url) == (expected["method"], expected["url"])
    assert request.headers == expected["headers"]
    assert request.body == audio


def test_a_transcript_is_the_likeliest_text_and_the_length_is_told() -> None:
    case = golden("deepgram", "transcription")
    assert exchanges.parsed(deepgram, ASR, case) == Transcript(case["parsed"], case["usage"])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (answer(said("Hello."), said("Hi.")), "Hello.\nHi."),
        (answer(said("")), ""),
        (answer({"alternatives": []}), ""),
        (answer(), ""),
    ],
)
def test_each_channel_is_a_line_and_silence_is_nothing(body: bytes, text: str) -> None:
    assert deepgram.parse(ASR, 200, JSON, body) == Transcript(text)


@pytest.mark.parametrize("duration", [True, "1", -1, None, [1]])
def test_a_length_that_is_no_number_is_unknown(duration: Any) -> None:
    parsed = deepgram.parse(ASR, 200, JSON, answer(said("a"), duration=duration))
    assert parsed == Transcript("a")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"results": {}}', answer(1), answer({}), answer({"alternatives": [{}]})]
)
def test_an_answer_without_a_transcript_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        deepgram.parse(ASR, 200, JSON, body)


@pytest.mark.parametrize(
    "case", golden("deepgram", "errors")["cases"], ids=lambda case: str(case.get("json", case))[:60]
)
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    exchanges.check_error(deepgram, ASR, case)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"file": b""}, BadRequest),
        ({"file": "text"}, BadRequest),
        ({"file": b"a", "media_type": "audio/wav\r\nX: y"}, BadRequest),
        ({"file": b"a", "keyterm": {"a": 1}}, BadRequest),
        ({"file": b"a", "keyterm": [["a"]]}, BadRequest),
        ({"file": b"a", "language": "\ud800"}, BadRequest),
        ({"file": b"a", "response_format": "vtt"}, Unsupported),
        ({"file": b"a", "prompt": "x"}, Unsupported),
        ({"file": b"a", "callback": "https://elsewhere"}, Unsupported),
    ],
)
def test_what_cannot_be_sent_is_refused(payload: Any, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        deepgram.build(ASR, payload, Target("F", "m", "https://h/v1"))
    assert caught.value.step == "build"


def test_a_models_name_cannot_add_a_parameter() -> None:
    request = deepgram.build(ASR, {"file": b"a"}, Target("F", "m&callback=x#", "https://h/v1"))
    assert request.url == "https://h/v1/listen?model=m%26callback%3Dx%23"


def test_what_it_cannot_do_is_unsupported() -> None:
    for act in (
        lambda: deepgram.build(Operation.CHAT, {"messages": []}, Target("F", "m", "https://h")),
        lambda: deepgram.parse(Operation.CHAT, 200, JSON, b"{}"),
        lambda: deepgram.decoder(ASR),
    ):
        with pytest.raises(Unsupported):
            act()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["results", "channels", "alternatives", "transcript", "metadata", "duration", "err_msg"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([200, 302, 400, 401, 404, 429, 500]))
def test_no_answer_raises_anything_but_upstream_errors(data: Any, status: int) -> None:
    for shape in (data, {"results": data}, {"results": {"channels": [{"alternatives": data}]}, "metadata": data}):
        try:
            deepgram.parse(ASR, status, JSON, json.dumps(shape).encode())
        except UpstreamError as error:
            assert error.step


# The row that we ship

row = factory_of("greenpt")
QUIRKS = Quirks.from_data(row["quirks"])


@pytest.mark.parametrize("kind", [LLMType.CHAT, LLMType.EMBEDDING, LLMType.RERANK, LLMType.SPEECH2TEXT])
def test_each_type_of_the_row_has_an_operation_and_a_signer(kind: LLMType) -> None:
    dialect, operation = for_type(kind, QUIRKS.dialect_for(kind) or row["dialect"])
    to = Target("F", "green-s", row["base_url"], quirks=QUIRKS)
    request = dialect.build(operation, probe_payload(kind, QUIRKS), to)
    credential = CredentialFields({}, OpenSecret(KEY, request.origin))
    signed = signers.get(QUIRKS.signers.get(kind) or row["signer"]).sign(request, credential)
    headers = {name.lower(): value for name, value in signed.headers.items()}
    assert headers["authorization"] == f"{'Token' if kind is LLMType.SPEECH2TEXT else 'Bearer'} {KEY}"


def test_a_probe_says_ok(upstream: FakeUpstream) -> None:
    upstream.raw("/listen", answer(said("")), content_type="application/json")
    credential = CredentialFields({}, OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}"))
    signer = QUIRKS.signers[LLMType.SPEECH2TEXT]
    to = Target("F", "green-s", upstream.url, "deepgram", signer, QUIRKS, credential, own_base_url=True)
    payload = probe_payload(LLMType.SPEECH2TEXT, QUIRKS)
    check_reply(LLMType.SPEECH2TEXT, call(to, ASR, payload, policy=POLICY))
    received = upstream.requests[-1]
    assert received.headers["authorization"] == f"Token {KEY}"
    assert (received.query, received.body) == ("model=green-s", payload["file"])
    upstream.rate_limited("/listen", retry_after="7")
    with pytest.raises(RateLimited) as limited:
        call(to, ASR, payload, policy=POLICY)
    assert limited.value.retry_after_s == 7
    upstream.status("/listen", 401, {"err_code": "INVALID_AUTH", "err_msg": f"Token {KEY} is wrong"})
    with pytest.raises(AuthenticationFailed) as refused:
        call(to, ASR, payload, policy=POLICY)
    assert KEY not in str(refused.value)
