"""Signatures made with two keys: Tencent Cloud's, held against its own library, and iFlytek's, checked as a server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.errors import AuthenticationFailed, WrongURL
from providers.signers import tc3, xunfei
from providers.signers.pairs import Pair
from providers.target import CredentialFields
from providers.wire import SocketRequest, UpstreamRequest
from tests.fakes.upstream import FakeUpstream

AT = datetime(2026, 3, 1, 23, 59, 58, tzinfo=UTC)
PAIR = Pair("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE")
SECRETS = {
    "tc3": {"tencent_cloud_sid": PAIR.id, "tencent_cloud_sk": PAIR.key},
    "xunfei": {"spark_api_key": PAIR.id, "spark_api_secret": PAIR.key, "spark_api_password": "other"},
}
REQUESTS = {
    "tc3": UpstreamRequest("POST", "https://asr.tencentcloudapi.com/", {"Content-Type": "application/json"}, b"{}"),
    "xunfei": SocketRequest("GET", "wss://tts-api.xfyun.cn/v2/tts", {}, b"{}"),
}


def credential(name: str, **changed: str) -> CredentialFields:
    text = json.dumps({**SECRETS[name], **changed})
    return CredentialFields({}, OpenSecret(text, REQUESTS[name].origin))


# Tencent Cloud


@pytest.mark.parametrize("moment", [AT, datetime(2024, 2, 29, 0, 0, 0, tzinfo=UTC)])
@pytest.mark.parametrize("params", [{}, {"EngSerViceType": "16k_zh", "Data": "你好/+=", "DataLen": 4}])
def test_a_signature_is_the_one_that_tencents_library_sends(moment: datetime, params: dict[str, object]) -> None:
    with FakeUpstream() as upstream:
        upstream.status("/", 200, {"Response": {"RequestId": "r"}})
        profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=f"127.0.0.1:{upstream.port}"))
        client = CommonClient("asr", "2019-06-14", Credential(*PAIR), "", profile)
        with time_machine.travel(moment, tick=False):
            client.call_json("SentenceRecognition", params)
        theirs = upstream.requests[0]
        request = UpstreamRequest(
            "POST", f"{upstream.root}/", {"Content-Type": theirs.headers["content-type"]}, theirs.body
        )
    ours = tc3.signed(request, PAIR, "asr", moment).headers
    assert ours["Authorization"] == theirs.headers["authorization"]
    assert ours["X-TC-Timestamp"] == theirs.headers["x-tc-timestamp"]


@pytest.mark.parametrize(
    ("signer", "url", "service"),
    [
        ("tc3", "https://asr.tencentcloudapi.com/", "asr"),
        ("tc3:asr", "https://hunyuan.ap-guangzhou.tencentcloudapi.com/", "hunyuan"),
        ("tc3", "https://asr.intl.tencentcloudapi.com/", "asr"),
        ("tc3:asr", "https://proxy.example.org/", "asr"),
    ],
)
def test_the_service_comes_from_the_host_or_else_from_the_row(signer: str, url: str, service: str) -> None:
    request = UpstreamRequest("POST", url, {"Content-Type": "application/json"}, b"{}")
    secret = OpenSecret(json.dumps(SECRETS["tc3"]), request.origin)
    signed = signers.get(signer).sign(request, CredentialFields({}, secret))
    assert f"/{service}/tc3_request," in signed.headers["Authorization"]
    assert (signed.url, signed.body) == (request.url, request.body)


def test_a_host_that_names_no_service_is_a_wrong_address() -> None:
    request = UpstreamRequest("POST", "https://asr.tencentcloudapi.com.evil.example/", {}, b"{}")
    secret = OpenSecret(json.dumps(SECRETS["tc3"]), request.origin)
    with pytest.raises(WrongURL):
        signers.get("tc3").sign(request, CredentialFields({}, secret))


# iFlytek


def query(request: UpstreamRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query, strict_parsing=True).items()}


def test_the_signature_says_what_the_documentation_shows() -> None:
    signed = xunfei.signed(REQUESTS["xunfei"], PAIR, AT)
    sent = query(signed)
    assert (sent["host"], sent["date"]) == ("tts-api.xfyun.cn", "Sun, 01 Mar 2026 23:59:58 GMT")
    said = dict(re.findall(r'(\w+)="([^"]*)"', base64.b64decode(sent["authorization"]).decode()))
    lines = f"host: tts-api.xfyun.cn\ndate: {sent['date']}\nGET /v2/tts HTTP/1.1"
    expected = base64.b64encode(hmac.new(PAIR.key.encode(), lines.encode(), hashlib.sha256).digest()).decode()
    assert said == {
        "api_key": PAIR.id,
        "algorithm": "hmac-sha256",
        "headers": "host date request-line",
        "signature": expected,
    }
    assert isinstance(signed, SocketRequest)
    assert (signed.method, signed.body, signed.origin) == ("GET", b"{}", "https://tts-api.xfyun.cn:443")


@given(st.integers(1, 65_535), st.sampled_from(["", "?a=1"]))
def test_a_query_is_kept_and_a_port_is_signed(port: int, before: str) -> None:
    request = SocketRequest("GET", f"wss://127.0.0.1:{port}/v2/tts{before}", {}, b"{}")
    signed = xunfei.signed(request, PAIR, AT)
    assert signed.url.startswith(f"wss://127.0.0.1:{port}/v2/tts?{'a=1&' if before else ''}authorization=")
    assert query(signed)["host"] == signed.host == ("127.0.0.1" if port == 443 else f"127.0.0.1:{port}")


# Both


@pytest.mark.parametrize("name", ["tc3", "xunfei"])
def test_without_keys_a_request_goes_unsigned(name: str) -> None:
    assert signers.get(name).sign(REQUESTS[name], CredentialFields()) == REQUESTS[name]


@pytest.mark.parametrize("name", ["tc3", "xunfei"])
@pytest.mark.parametrize("secret", ["AKIDonly", "[1]", "{}", "[" * 100_000, '{"tencent_cloud_sid": "AKID"}'])
def test_what_is_not_a_pair_of_keys_is_a_wrong_key(name: str, secret: str) -> None:
    fields = CredentialFields({}, OpenSecret(secret, REQUESTS[name].origin))
    with pytest.raises(AuthenticationFailed) as caught:
        signers.get(name).sign(REQUESTS[name], fields)
    assert caught.value.step == "sign"
    assert secret not in str(caught.value)


@pytest.mark.parametrize("name", ["tc3", "xunfei"])
@pytest.mark.parametrize("key", ["", " ", "a b", "a\nb", "ключ", 'a"b'])
def test_keys_that_cannot_be_sent_are_wrong_keys(name: str, key: str) -> None:
    for field in list(SECRETS[name])[:2]:
        with pytest.raises(AuthenticationFailed):
            signers.get(name).sign(REQUESTS[name], credential(name, **{field: key}))


@pytest.mark.parametrize("name", ["tc3", "xunfei"])
def test_keys_are_not_used_for_another_address(name: str) -> None:
    other = CredentialFields({}, OpenSecret(json.dumps(SECRETS[name]), "https://evil.example:443"))
    with pytest.raises(SecretMisdirected):
        signers.get(name).sign(REQUESTS[name], other)


@pytest.mark.parametrize("name", ["tc3", "xunfei"])
def test_nothing_shows_the_keys(name: str) -> None:
    signed = signers.get(name).sign(REQUESTS[name], credential(name))
    for text in (repr(signed), str(signed), repr(PAIR)):
        assert PAIR.key not in text
        assert "ignature=" not in text
        assert "authorization=" not in text


@pytest.mark.parametrize("name", ["tc3:ASR", "tc3:a b", "xunfei:x"])
def test_an_argument_that_makes_no_sense_is_refused(name: str) -> None:
    assert not signers.is_installed(name)
