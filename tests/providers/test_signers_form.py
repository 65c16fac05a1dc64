"""The key as a field of an uploaded form."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP

import pytest

from core.netguard import parse_networks
from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.calls import call
from providers.dialects.multipart import form_request
from providers.errors import AuthenticationFailed, Unsupported, UpstreamError
from providers.signers import UnknownSigner
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Operation, UpstreamRequest
from tests.fakes.upstream import FakeUpstream

URL = "https://ocr.example/v1/parse"
REQUEST = form_request(URL, {"output": "markdown"}, ("file", b"%PDF-1.7\n--x\r\n\r\n", "a.pdf", "application/pdf"))
FORM = signers.get("form:api_key")


def credential(key: str, url: str = URL) -> CredentialFields:
    return CredentialFields({}, OpenSecret(key, origin_of(url)))


def parts(request: UpstreamRequest) -> list[tuple[str, bytes]]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    found = BytesParser(policy=HTTP).parsebytes(head + (request.body or b"")).iter_parts()
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True)) for part in found
    ]


def test_the_key_is_one_more_field_and_all_else_stays_as_it_was() -> None:
    signed = FORM.sign(REQUEST, credential(" sk-1\n"))
    assert parts(signed) == [("api_key", b"sk-1"), *parts(REQUEST)]
    assert (signed.method, signed.url, signed.headers) == (REQUEST.method, REQUEST.url, REQUEST.headers)
    assert "sk-1" not in repr(signed)
    assert b"sk-1" not in (REQUEST.body or b"")


def test_without_a_key_a_form_goes_as_it_is() -> None:
    assert FORM.sign(REQUEST, CredentialFields()) == REQUEST
    assert FORM.sign(UpstreamRequest("GET", URL), CredentialFields()) == UpstreamRequest("GET", URL)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://ocr.example", "https://ocr.example:8443"])
def test_a_key_is_not_sent_to_another_origin(origin: str) -> None:
    with pytest.raises(SecretMisdirected):
        FORM.sign(REQUEST, credential("sk-1", origin))


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest("GET", URL),
        UpstreamRequest("POST", URL, {"Content-Type": "application/json"}, b"{}"),
        UpstreamRequest("POST", URL, {"Content-Type": "multipart/form-data; boundary=x"}),
        UpstreamRequest("POST", URL, {"Content-Type": "multipart/form-data"}, b"--x--"),
    ],
)
def test_a_request_without_a_form_cannot_be_signed_so(request_: UpstreamRequest) -> None:
    with pytest.raises(Unsupported) as caught:
        FORM.sign(request_, credential("sk-1"))
    assert caught.value.step == "sign"


def test_no_key_can_end_its_field() -> None:
    boundary = REQUEST.headers["Content-Type"].partition("boundary=")[2]
    for key in (f"--{boundary}--", f"sk--{boundary}", 'sk\r\nContent-Disposition: form-data; name="x"'):
        with pytest.raises(AuthenticationFailed) as caught:
            FORM.sign(REQUEST, credential(key))
        assert key not in str(caught.value)


@pytest.mark.parametrize("name", ["form", "form:", "form:a b", 'form:a"b', "form:a\r\nb"])
def test_a_field_has_a_name(name: str) -> None:
    with pytest.raises(UnknownSigner):
        signers.get(name)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_an_upstream_that_echoes_the_form_is_redacted(upstream: FakeUpstream, status: int) -> None:
    key = "zq9-unknown-shape-of-key"
    upstream.status("/parse/sync", status, {"code": 1107, "message": f"Bad form: api_key is {key}"})
    to = Target("F", "m", upstream.url, "somark", "form:api_key", credential=credential(key, upstream.url))
    policy = Policy(parse_networks(["127.0.0.0/8"]), connect_timeout_s=5, total_timeout_s=10)
    with pytest.raises(UpstreamError) as caught:
        call(to, Operation.OCR, {"file": b"%PDF-1.7\n"}, policy=policy)
    found = caught.value
    assert key.encode() in upstream.requests[-1].body
    assert key not in repr(vars(found)) + str(found) + repr(found.args)
    assert "Bad form" in found.message
