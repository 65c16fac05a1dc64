"""How requests are authenticated."""

from __future__ import annotations

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.errors import AuthenticationFailed
from providers.signers import UnknownSigner
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

URL = "https://api.example/v1/models"
REQUEST = UpstreamRequest("GET", URL, {"Accept": "application/json"})


def credential(key: str, url: str = URL) -> CredentialFields:
    return CredentialFields({"region": "eu"}, OpenSecret(key, origin_of(url)))


@pytest.mark.parametrize(
    ("signer", "header", "value"),
    [
        ("bearer", "Authorization", "Bearer sk-1"),
        ("header:x-api-key", "x-api-key", "sk-1"),
        ("header:api-key", "api-key", "sk-1"),
        ("header:x-goog-api-key", "x-goog-api-key", "sk-1"),
        ("header:authorization:Token", "authorization", "Token sk-1"),
    ],
)
def test_the_key_goes_into_its_header(signer: str, header: str, value: str) -> None:
    signed = signers.get(signer).sign(REQUEST, credential(" sk-1\n"))
    assert signed.headers == {"Accept": "application/json", header: value}
    assert (signed.method, signed.url, signed.body) == (REQUEST.method, REQUEST.url, REQUEST.body)
    assert REQUEST.headers == {"Accept": "application/json"}


@pytest.mark.parametrize("signer", ["bearer", "header:x-api-key", "none"])
def test_without_a_key_a_request_goes_unsigned(signer: str) -> None:
    assert signers.get(signer).sign(REQUEST, CredentialFields()) == REQUEST
    assert signers.get(signer).sign(REQUEST, credential("  ")) == REQUEST


def test_none_does_not_even_open_the_secret() -> None:
    assert signers.get("none").sign(REQUEST, credential("sk-1", "https://elsewhere.example")) == REQUEST


@pytest.mark.parametrize("signer", ["bearer", "header:x-api-key"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://api.example", "https://api.example:8443"])
def test_a_key_is_not_sent_to_another_origin(signer: str, origin: str) -> None:
    with pytest.raises(SecretMisdirected):
        signers.get(signer).sign(REQUEST, credential("sk-1", origin))


def test_one_key_is_taken_out_of_several() -> None:
    packed = credential('{"api_key": "sk-1", "api_version": ""}')
    assert signers.get("bearer").sign(REQUEST, packed).headers["Authorization"] == "Bearer sk-1"
    other = credential('{"type": "service_account"}')
    assert signers.get("bearer").sign(REQUEST, other).headers["Authorization"] == 'Bearer {"type": "service_account"}'


@pytest.mark.parametrize("key", ["sk\nX-Evil: 1", "sk\r1", "sk\x00", "sk-кириллица", "a\tb", "“sk-1”"])
def test_a_key_that_no_header_can_hold_is_a_wrong_key(key: str) -> None:
    for signer in ("bearer", "header:x-api-key"):
        with pytest.raises(AuthenticationFailed) as caught:
            signers.get(signer).sign(REQUEST, credential(key))
        assert caught.value.step == "sign"
        assert key not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("", "nonsense", "base", "bearer:x", "none:x", "header", "header:", "header:a b", "header:a\nb"),
        *("header:host", "header:Content-Length", "header:cookie", "header:authorization:To ken"),
    ],
)
def test_an_unknown_way_to_sign_names_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownSigner) as caught:
        signers.get(name)
    assert "bearer" in caught.value.hint


def test_the_names_that_the_admin_offers_all_work() -> None:
    known = {"bearer", "header:api-key", "header:x-api-key", "header:x-goog-api-key", "none", "sigv4:bedrock", "tc3"}
    assert known | {"google_service_account"} <= set(signers.names())
    assert list(signers.names()) == sorted(signers.names())
    for name in signers.names():
        signers.get(name)


def test_signing_replaces_a_header_of_the_same_name() -> None:
    request = UpstreamRequest("GET", URL, {"X-API-KEY": "old", "authorization": "old"})
    assert signers.get("header:x-api-key").sign(request, credential("sk-1")).headers["x-api-key"] == "sk-1"
    assert "X-API-KEY" not in signers.get("header:x-api-key").sign(request, credential("sk-1")).headers
    assert signers.get("bearer").sign(request, credential("sk-1")).headers["Authorization"] == "Bearer sk-1"


def test_nothing_that_holds_a_key_shows_it() -> None:
    signed = signers.get("bearer").sign(UpstreamRequest("GET", f"{URL}?key=sk-query"), credential("sk-canary-1"))
    for thing in (signed, credential("sk-canary-1")):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert "sk-" not in text
