"""Google service accounts: the assertion held against Google's own library, and the exchange on a socket."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.auth import jwt
from google.oauth2.service_account import Credentials

from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.errors import AuthenticationFailed, PermissionDenied, RateLimited, UpstreamError, WrongURL
from providers.quirks import Quirks
from providers.signers.google_service_account import AUDIENCE, SCOPE, assertion, read_account
from providers.target import CredentialFields, Target
from providers.wire import UpstreamRequest
from tests.fakes.upstream import FakeUpstream
from tests.providers.exchange_cases import asked, chat, numbers_tokens, target

NAME = "google_service_account"
AT = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM = pem(KEY)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_file(**changes: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "project-1",
        "private_key_id": "0123456789abcdef",
        "private_key": PEM,
        "client_email": "robot@project-1.iam.gserviceaccount.com",
        "client_id": "1234567890",
        "token_uri": "https://evil.example/token",
        **changes,
    }


def secret(**changes: Any) -> str:
    return base64.b64encode(json.dumps(key_file(**changes)).encode()).decode()


@pytest.fixture
def google(upstream: FakeUpstream) -> FakeUpstream:
    numbers_tokens(upstream, "/token")
    return upstream


def test_the_assertion_is_the_one_that_googles_library_makes() -> None:
    with time_machine.travel(AT, tick=False):
        info = key_file(token_uri=AUDIENCE)
        theirs = Credentials.from_service_account_info(info, scopes=[SCOPE])._make_authorization_grant_assertion()
        ours = assertion(read_account(secret()), AT)
        assert jwt.decode(ours, certs=PUBLIC, audience=AUDIENCE) == jwt.decode(theirs, certs=PUBLIC, audience=AUDIENCE)
    header, _, _ = ours.partition(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == jwt.decode_header(theirs.decode())


def test_a_key_file_is_exchanged_once_for_many_calls(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="many@project-1.example"))
    for _ in range(3):
        assert chat(to)["choices"]
    assert (google.calls["/token"], google.calls["/chat/completions"]) == (1, 3)
    assert google.requests[-1].headers["authorization"] == "Bearer token-1"
    request, form = asked(google, "/token")
    assert (request.method, request.headers["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert jwt.decode(form["assertion"], certs=PUBLIC, audience=AUDIENCE)["iss"] == "many@project-1.example"
    assert "authorization" not in request.headers


def test_a_key_file_is_read_as_it_is_in_lines_of_base64_and_as_one_field_of_several(google: FakeUpstream) -> None:
    plain = json.dumps(key_file(client_email="as-it-is@project-1.example"), indent=2)
    folded = base64.encodebytes(plain.encode()).decode()
    for text in (plain, folded, json.dumps({"google_service_account_key": folded})):
        assert chat(target(google, NAME, text))["choices"]
    issuers = set()
    for request in google.requests:
        if request.path == "/token":
            issuers.add(jwt.decode(request.body.decode().partition("assertion=")[2], certs=PUBLIC, verify=False)["iss"])
    assert issuers == {"as-it-is@project-1.example"}


def test_a_token_that_was_taken_back_is_replaced_once(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="taken-back@project-1.example"))
    chat(to)
    google.key = "another"
    assert chat(to)["choices"]
    assert (google.calls["/token"], google.calls["/chat/completions"]) == (2, 3)


def test_a_refusal_of_a_fresh_token_is_told_at_once_and_without_it(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="refused@project-1.example"))

    def refuses(handler: Any) -> None:
        said = {"message": f"no: {handler.request_now.headers['authorization']}", "code": "token-1"}
        handler.json({"error": said}, status=401)

    google.behave("/chat/completions", refuses)
    with pytest.raises(AuthenticationFailed) as caught:
        chat(to)
    assert google.calls["/chat/completions"] == 1
    assert "token-1" not in repr(vars(caught.value)) + str(caught.value)
    google.well("/chat/completions")
    assert chat(to)["choices"]  # the refused token was not kept
    assert google.calls["/token"] == 2


def test_when_the_new_token_is_refused_too_that_is_the_answer(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="twice@project-1.example"))
    chat(to)
    google.status("/chat/completions", 401, {"error": {"message": "no", "code": "invalid_api_key"}})
    with pytest.raises(AuthenticationFailed):
        chat(to)
    assert (google.calls["/token"], google.calls["/chat/completions"]) == (2, 3)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_grant", AuthenticationFailed),
        (401, "invalid_client", AuthenticationFailed),
        (403, "access_denied", PermissionDenied),
        (429, "rate_limit_exceeded", RateLimited),
    ],
)
def test_a_refused_assertion_is_told_without_it(
    google: FakeUpstream, status: int, error: str, kind: type[UpstreamError]
) -> None:
    def refuses(handler: Any) -> None:
        said = handler.request_now.body.decode().partition("assertion=")[2]
        handler.json({"error": error, "error_description": f"Invalid JWT: {said} {said.split('.')[2]}"}, status=status)

    google.behave("/token", refuses)
    with pytest.raises(kind) as caught:
        chat(target(google, NAME, secret(client_email=f"{error}@project-1.example")))
    assert caught.value.step == "sign"
    assert google.calls["/chat/completions"] == 0
    _, form = asked(google, "/token")
    for part in (form["assertion"], *form["assertion"].split(".")[1:]):
        assert part not in repr(vars(caught.value)) + str(caught.value)


def test_a_wrong_clock_is_named(google: FakeUpstream) -> None:
    said = "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe. Check your iat and exp values"
    google.status("/token", 400, {"error": "invalid_grant", "error_description": said})
    with pytest.raises(AuthenticationFailed) as caught:
        chat(target(google, NAME, secret(client_email="clock@project-1.example")))
    assert "clock" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("AIzaSyA-plain-key-of-another-kind", "{}", "[]", "e30=", '{"type": ', "x" * 40),
        secret(type="authorized_user"),
        secret(client_email=""),
        secret(client_email="no address"),
        secret(private_key=""),
        secret(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        secret(private_key=pem(ec.generate_private_key(ec.SECP256R1()))),
        secret(private_key=5),
    ],
)
def test_what_is_no_service_accounts_key_is_told_without_showing_it(google: FakeUpstream, text: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        chat(target(google, NAME, text))
    assert google.connections == 0
    assert caught.value.step == "sign"
    assert "JSON key" in caught.value.hint
    for part in (text, PEM.splitlines()[3]):
        assert len(part) < 8 or part not in repr(vars(caught.value)) + str(caught.value)


def test_the_token_comes_from_the_declared_address_and_from_no_other() -> None:
    request = UpstreamRequest("POST", "https://aiplatform.googleapis.com/v1/x", {}, b"{}")
    sealed = OpenSecret(secret(), request.origin, [origin_of("https://oauth2.googleapis.com")])
    signer = signers.get(NAME)
    exchange = signer.exchange(request, CredentialFields({}, sealed), "https://oauth2.googleapis.com")
    assert exchange is not None
    assert exchange.build().request.url == AUDIENCE
    with pytest.raises(SecretMisdirected):
        signer.exchange(request, CredentialFields({}, sealed), "https://evil.example")
    with pytest.raises(WrongURL, match="tokens"):
        signer.exchange(request, CredentialFields({}, sealed), "")
    elsewhere = UpstreamRequest("POST", "https://evil.example/v1/x", {}, b"{}")
    with pytest.raises(SecretMisdirected):
        signer.exchange(elsewhere, CredentialFields({}, sealed), "https://oauth2.googleapis.com")


def test_a_token_goes_only_where_the_key_may_go(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="elsewhere@project-1.example"))
    chat(to)
    moved = Target("Fake", "fake-chat", "http://localhost:9/v1", "openai", NAME, to.quirks, to.credential)
    with pytest.raises(WrongURL) as caught:
        chat(moved)
    assert caught.value.step == "sign"


def test_without_a_key_a_request_goes_unsigned() -> None:
    request = UpstreamRequest("GET", "https://aiplatform.googleapis.com/v1/x")
    signer = signers.get(NAME)
    assert signer.exchange(request, CredentialFields(), "https://oauth2.googleapis.com") is None
    assert signer.sign(request, CredentialFields()) == request


def test_another_key_or_address_is_another_token() -> None:
    request = UpstreamRequest("GET", "https://api.example/v1")
    seen = set()
    for text, url in (
        (secret(), "https://a.example"),
        (secret(), "https://b.example"),
        (secret(x=1), "https://a.example"),
    ):
        sealed = OpenSecret(text, request.origin, [origin_of(url)])
        exchange = signers.get(NAME).exchange(request, CredentialFields({}, sealed), url)
        assert exchange is not None
        assert text not in repr(exchange)
        seen.add(exchange.identity)
    assert len(seen) == 3


def test_an_hour_later_the_assertion_is_made_anew(google: FakeUpstream) -> None:
    to = target(google, NAME, secret(client_email="hour@project-1.example"))
    with time_machine.travel(AT, tick=False) as clock:
        chat(to)
        clock.shift(timedelta(hours=1))
        chat(to)
    _, form = asked(google, "/token")
    claims = jwt.decode(form["assertion"], certs=PUBLIC, verify=False)
    assert claims["iat"] == int((AT + timedelta(hours=1)).timestamp())
    assert google.calls["/token"] == 2


def test_its_quirk_is_read() -> None:
    assert Quirks.from_data({"token_url": "https://oauth2.googleapis.com/"}).token_url_for({}) == (
        "https://oauth2.googleapis.com"
    )
