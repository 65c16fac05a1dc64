"""AWS Signature Version 4, held against AWS's own library."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import time_machine
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.errors import AuthenticationFailed, WrongURL
from providers.signers.sigv4 import Keys, Scope, signed
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

AT = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
ACCESS, HIDDEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
URL = f"{HOST}/model/amazon.titan-embed-text-v2%3A0/invoke"


def request(url: str = URL, body: bytes | None = b"{}") -> UpstreamRequest:
    return UpstreamRequest("POST", url, {"Content-Type": "application/json", "User-Agent": "llmadmin"}, body)


def credential(url: str = URL, fields: dict[str, str] | None = None, **parts: str) -> CredentialFields:
    secret = json.dumps({"bedrock_ak": ACCESS, "bedrock_sk": HIDDEN, **parts})
    return CredentialFields(fields or {}, OpenSecret(secret, request(url).origin))


def as_aws(url: str, body: bytes | None, scope: Scope, token: str = "") -> dict[str, str]:
    sent = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body or b"")
    with time_machine.travel(AT, tick=False):
        SigV4Auth(Credentials(ACCESS, HIDDEN, token or None), scope.service, scope.region).add_auth(sent)
    names = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")
    return {name: sent.headers[name] for name in names if name in sent.headers}


def added(done: UpstreamRequest) -> dict[str, str]:
    return {name: value for name, value in done.headers.items() if name not in request().headers}


segments = st.text("abcXYZ019.-_~%:/ä$&+,;=@", max_size=20)


@given(segments, st.binary(max_size=20), st.sampled_from(["", "IQoJb3Jp/+=="]), st.sampled_from(["", ":443", ":8443"]))
def test_a_signature_is_the_one_that_awss_library_makes(path: str, body: bytes, token: str, port: str) -> None:
    url = f"{HOST}{port}/model//m{quote(path, safe='')}/converse"
    scope = Scope("eu-west-1", "bedrock")
    done = signed(request(url, body), Keys(ACCESS, HIDDEN, token), scope, AT)
    assert added(done) == as_aws(url, body, scope, token)


@pytest.mark.parametrize("query", ["a=1&b=2", "b=2&a=1&a=0", "empty=", "name=a%20b%2Fc"])
def test_a_query_is_signed_too(query: str) -> None:
    url, scope = f"https://sts.amazonaws.com/?{query}", Scope("us-east-1", "sts")
    assert added(signed(request(url, None), Keys(ACCESS, HIDDEN), scope, AT)) == as_aws(url, None, scope)


@pytest.mark.parametrize(
    ("host", "region", "service", "fields"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1", "bedrock", {"bedrock_region": "eu-west-1"}),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", "bedrock", {}),
        ("bedrock-runtime.ap-southeast-2.api.aws", "ap-southeast-2", "bedrock", {}),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1", "bedrock", {}),
        ("vpce-1a-2b.bedrock-runtime.us-east-1.vpce.amazonaws.com", "us-east-1", "bedrock", {}),
        ("sagemaker.eu-west-3.amazonaws.com", "eu-west-3", "sagemaker", {}),
        ("proxy.example.org", "eu-west-1", "bedrock", {"bedrock_region": "eu-west-1"}),
    ],
)
def test_region_and_service_come_from_the_host_or_else_from_the_credential(
    host: str, region: str, service: str, fields: dict[str, str]
) -> None:
    url = f"https://{host}/model/m/converse"
    with time_machine.travel(AT, tick=False):
        done = signers.get("sigv4:bedrock").sign(request(url), credential(url, fields))
    assert added(done) == as_aws(url, b"{}", Scope(region, service))


def test_a_session_token_goes_along() -> None:
    done = signers.get("sigv4").sign(request(), credential(aws_session_token="a-token"))
    assert done.headers["X-Amz-Security-Token"] == "a-token"
    assert "x-amz-security-token" in done.headers["Authorization"]


@pytest.mark.parametrize("fields", [{}, {"bedrock_region": "eu"}, {"bedrock_region": "evil.example/"}])
def test_no_region_is_no_signature(fields: dict[str, str]) -> None:
    url = "https://proxy.example.org/model/m/converse"
    with pytest.raises(WrongURL, match="region"):
        signers.get("sigv4:bedrock").sign(request(url), credential(url, fields))


@pytest.mark.parametrize(
    "secret",
    [
        *("sk-one-key", "[]", "{}", '{"bedrock_ak": "AKID"}', '{"bedrock_ak": "A KID", "bedrock_sk": "s"}'),
        *('{"bedrock_ak": "AKID", "bedrock_sk": "s\\ns"}', '{"bedrock_ak": 5, "bedrock_sk": "s"}'),
    ],
)
def test_what_is_no_pair_of_keys_is_told_without_showing_it(secret: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        signers.get("sigv4").sign(request(), CredentialFields({}, OpenSecret(secret, request().origin)))
    assert "sk-one" not in str(caught.value)


def test_without_a_key_nothing_is_signed_and_no_key_leaves_for_another_host() -> None:
    assert signers.get("sigv4").sign(request(), CredentialFields()) == request()
    elsewhere = credential("https://elsewhere.example.org/")
    with pytest.raises(SecretMisdirected) as caught:
        signers.get("sigv4").sign(request(), elsewhere)
    assert HIDDEN not in str(caught.value)
    assert HIDDEN not in repr(Keys(ACCESS, HIDDEN, "token"))


def test_a_service_is_one_word() -> None:
    assert not signers.is_installed("sigv4:Bed rock")
    assert "sigv4:bedrock" in signers.names()
