"""Tencent Cloud's speech recognition against its documentation, and over real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import threading
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    GenericUpstreamError,
    QuotaExceeded,
    RateLimited,
    TimedOut,
    Unsupported,
    UpstreamError,
)
from providers.llm_types import LLMType
from providers.pending import Pending
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Operation, Transcript
from tests.fakes.upstream import FakeUpstream, Handler
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden

KEYS = {"tencent_cloud_sid": "AKIDcanaryEXAMPLE", "tencent_cloud_sk": "canary-secret-key"}
ASR = Operation.TRANSCRIPTION
tencent = get("tencent")
row = factory_of("tencent-cloud")
TO = Target("F", "16k_zh", "https://asr.tencentcloudapi.com")


def case(name: str) -> dict[str, Any]:
    found = golden("tencent", name)
    return {**found, "payload": {**found["payload"], "file": base64.b64decode(found["audio"])}}


def wav(duration_s: float, rate_hz: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(rate_hz)
        file.writeframes(b"\x80" * round(duration_s * rate_hz))
    return out.getvalue()


def action(payload: dict[str, Any], engine: str = "16k_zh") -> str:
    return tencent.build(ASR, payload, Target("F", engine, TO.base_url)).headers["X-TC-Action"]


@pytest.mark.parametrize("name", ["sentence", "task"])
def test_a_request_is_built_as_documented(name: str) -> None:
    exchanges.check_request(tencent, ASR, case(name))


@pytest.mark.parametrize("name", ["sentence", "status"])
def test_a_transcript_is_its_text_without_times(name: str) -> None:
    found = golden("tencent", name)
    assert exchanges.parsed(tencent, ASR, found) == Transcript(found["parsed"], found["usage"])


def test_silence_is_an_empty_transcript() -> None:
    body = json.dumps({"Response": {"Result": "", "AudioDuration": 500, "RequestId": "r"}}).encode()
    assert tencent.parse(ASR, 200, JSON, body) == Transcript("", {"type": "duration", "seconds": 0.5})


def test_a_task_is_asked_for_until_it_is_done() -> None:
    asked = golden("tencent", "status")
    for answer in (golden("tencent", "task")["reply"]["json"], *asked["waiting"]):
        with pytest.raises(Pending) as caught:
            tencent.parse(ASR, 200, JSON, json.dumps(answer).encode())
        request = caught.value.ask(TO)
        assert (request.method, request.url) == (asked["request"]["method"], asked["request"]["url"])
        assert request.headers == asked["request"]["headers"]
        assert json.loads(request.body or b"") == asked["request"]["json"]


def test_a_task_that_failed_says_why() -> None:
    with pytest.raises(GenericUpstreamError, match="decode audio") as caught:
        tencent.parse(ASR, 200, JSON, json.dumps(golden("tencent", "status")["failed"]).encode())
    assert caught.value.step == "parse"


@pytest.mark.parametrize("one", golden("tencent", "errors")["cases"], ids=lambda one: json.dumps(one)[:90])
def test_an_error_is_a_member_of_the_tree(one: dict[str, Any]) -> None:
    exchanges.check_error(tencent, ASR, one)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"file": wav(60)}, "SentenceRecognition"),
        ({"file": wav(60.01)}, "CreateRecTask"),
        ({"file": wav(59, 60_000)}, "CreateRecTask"),  # longer than 3 MB in Base64
        ({"file": b"not a wav file"}, "CreateRecTask"),
        ({"file": bytes(60 * 32_000), "media_type": "audio/L16;rate=16000"}, "SentenceRecognition"),
        ({"file": bytes(60 * 32_000 + 1), "media_type": "audio/pcm"}, "CreateRecTask"),
        ({"file": bytes(240_000), "media_type": "audio/mpeg"}, "SentenceRecognition"),
        ({"file": bytes(240_001), "media_type": "audio/mpeg"}, "CreateRecTask"),
        ({"file": bytes(60_000), "filename": "voice.OPUS"}, "SentenceRecognition"),
        ({"file": bytes(10), "media_type": "audio/flac", "filename": "x.flac"}, "CreateRecTask"),
        ({"file": bytes(10), "filename": "noending"}, "CreateRecTask"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_surely_is_short_is_recognised_at_once(payload: dict[str, Any], expected: str) -> None:
    assert action({"media_type": "", "filename": "", **payload}) == expected


def test_an_engine_that_knows_tasks_only_gets_one() -> None:
    assert action({"file": wav(1)}, "16k_zh_en_2.0") == "CreateRecTask"
    assert action({"file": wav(1)}, "8k_zh") == "SentenceRecognition"


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, BadRequest),
        ({"file": "text"}, BadRequest),
        ({"file": bytes(5 * 1024 * 1024 + 1)}, BadRequest),
        ({"file": b"a", "media_type": 1}, BadRequest),
        ({"file": b"a", "language": 1}, BadRequest),
        ({"file": b"a", "language": "en"}, Unsupported),
        ({"file": b"a", "response_format": "srt"}, Unsupported),
        ({"file": b"a", "temperature": 0.5}, Unsupported),
        ({"file": b"a", "Url": "http://169.254.169.254/"}, Unsupported),
        ({"file": b"a", "CallbackUrl": "http://evil.example/"}, Unsupported),
    ],
)
def test_what_cannot_be_sent_is_refused(payload: dict[str, Any], kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        tencent.build(ASR, payload, TO)
    assert caught.value.step == "build"


@pytest.mark.parametrize(
    ("engine", "language"), [("16k_zh-PY", "zh"), ("16k_multi_lang", "ja"), ("16k_zh_en", "en"), ("16k_zh", None)]
)
def test_a_language_that_the_engine_knows_is_fine(engine: str, language: str | None) -> None:
    assert tencent.build(ASR, {"file": b"a", "language": language}, Target("F", engine, TO.base_url))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Error", "Code", "Message", "Result", "Data", "TaskId", "StatusStr", "AudioDuration"]),
            inner,
        )
    ),
    max_leaves=10,
)


@given(values, st.sampled_from([200, 302, 400, 404, 500]))
def test_no_answer_raises_anything_but_upstream_errors(data: Any, status: int) -> None:
    for shape in (data, {"Response": data}, {"Response": {"Data": data}}, {"Response": {"Error": data}}):
        try:
            tencent.parse(ASR, status, JSON, json.dumps(shape).encode())
        except UpstreamError as error:
            assert error.step


# Over a socket, against a server that checks the signature


class Cloud:
    """Answers as Tencent Cloud does, if the signature is right by its own reckoning."""

    def __init__(self, upstream: FakeUpstream, *, waits: int = 0) -> None:
        self.upstream, self.waits = upstream, waits
        self.actions: list[str] = []
        self.stop = threading.Event()
        upstream.behave("/", self.answer)

    def answer(self, handler: Handler) -> None:
        request = handler.request_now
        if not self.signed(request.headers, request.body):
            error = {"Code": "AuthFailure.SignatureFailure", "Message": f"Not for {request.headers['authorization']}"}
            handler.json({"Response": {"Error": error, "RequestId": "r"}})
            return
        name = request.headers["x-tc-action"]
        self.actions.append(name)
        if name == "SentenceRecognition":
            handler.json({"Response": {"Result": "", "AudioDuration": 500, "RequestId": "r"}})
        elif name == "CreateRecTask":
            handler.json({"Response": {"Data": {"TaskId": 7}, "RequestId": "r"}})
        elif self.waits != 0:
            self.waits -= 1
            handler.json(golden("tencent", "status")["waiting"][0])
        else:
            handler.json(golden("tencent", "status")["reply"]["json"])

    def signed(self, headers: dict[str, str], body: bytes) -> bool:
        said, moment = headers["authorization"], int(headers["x-tc-timestamp"])
        scope = said.partition("/")[2].partition(",")[0]
        lines = f"content-type:{headers['content-type']}\nhost:{headers['host']}\n"
        digest = hashlib.sha256(body).hexdigest()
        canonical = f"POST\n/\n\n{lines}\ncontent-type;host\n{digest}"
        text = f"TC3-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = b"TC3" + KEYS["tencent_cloud_sk"].encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return said.endswith(f"Signature={hmac.digest(key, text.encode(), 'sha256').hex()}")


def target(upstream: FakeUpstream, **changed: str) -> Target:
    secret = OpenSecret(json.dumps({**KEYS, **changed}), f"http://127.0.0.1:{upstream.port}")
    return Target(
        *("F", "16k_zh", upstream.root, row["dialect"], row["signer"], Quirks.from_data(row["quirks"])),
        credential=CredentialFields({}, secret),
        own_base_url=True,
    )


def test_a_probe_says_ok(upstream: FakeUpstream) -> None:
    cloud, to = Cloud(upstream), target(upstream)
    dialect, operation = for_type(LLMType.SPEECH2TEXT, row["dialect"])
    assert dialect is tencent
    payload = probe_payload(LLMType.SPEECH2TEXT, to.quirks)
    check_reply(LLMType.SPEECH2TEXT, call(to, operation, payload, policy=POLICY))
    assert cloud.actions == ["SentenceRecognition"]


def test_longer_audio_is_waited_for_within_one_call(upstream: FakeUpstream) -> None:
    cloud = Cloud(upstream, waits=1)
    reply = call(target(upstream), ASR, {"file": wav(61)}, policy=POLICY)
    assert str(reply) == golden("tencent", "status")["parsed"]
    assert cloud.actions == ["CreateRecTask", "DescribeTaskStatus", "DescribeTaskStatus"]


def test_a_task_that_takes_too_long_times_out(upstream: FakeUpstream) -> None:
    cloud = Cloud(upstream, waits=-1)
    with pytest.raises(TimedOut):
        call(target(upstream), ASR, {"file": wav(61)}, policy=Policy(POLICY.allowed_networks, total_timeout_s=4))
    assert cloud.actions[:2] == ["CreateRecTask", "DescribeTaskStatus"]


def test_a_passing_failure_does_not_lose_a_task_and_a_lasting_one_ends_it(upstream: FakeUpstream) -> None:
    cloud = Cloud(upstream)
    failures = ["RequestLimitExceeded", "InternalError"]

    def shaky(handler: Handler) -> None:
        if handler.request_now.headers["x-tc-action"] == "DescribeTaskStatus" and failures:
            handler.json({"Response": {"Error": {"Code": failures.pop(), "Message": "m"}, "RequestId": "r"}})
        else:
            cloud.answer(handler)

    upstream.behave("/", shaky)
    assert call(target(upstream), ASR, {"file": wav(61)}, policy=POLICY)
    assert upstream.total_calls == 4
    failures.append("FailedOperation.NoSuchTask")
    with pytest.raises(GenericUpstreamError):
        call(target(upstream), ASR, {"file": wav(61)}, policy=POLICY)
    assert upstream.total_calls == 6


def test_a_wrong_key_is_told_and_never_repeated(upstream: FakeUpstream) -> None:
    Cloud(upstream)
    with pytest.raises(AuthenticationFailed) as caught:
        call(target(upstream, tencent_cloud_sk="canary-of-another"), ASR, {"file": wav(1)}, policy=POLICY)
    shown = repr(vars(caught.value)) + str(caught.value)
    assert "canary" not in shown
    assert upstream.requests[0].headers["authorization"] not in shown
    assert upstream.total_calls == 1


def test_an_account_without_money_and_a_limit_are_told_apart(upstream: FakeUpstream) -> None:
    for code, kind in (("FailedOperation.UserHasNoFreeAmount", QuotaExceeded), ("RequestLimitExceeded", RateLimited)):
        upstream.status("/", 200, {"Response": {"Error": {"Code": code, "Message": "m"}, "RequestId": "r"}})
        with pytest.raises(kind) as caught:
            call(target(upstream), ASR, {"file": wav(1)}, policy=POLICY)
        assert caught.value.upstream_code == code.lower()
