"""A Google service account: an assertion that its key signs buys an access token for Google Cloud.

The credential's secret is the account's JSON key file, as it is or in Base64. The file also names addresses; none of
them is followed: tokens come from where the factory's row says.
Sources: https://developers.google.com/identity/protocols/oauth2/service-account#httprest, https://google.aip.dev/auth/4112
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from providers.errors import AuthenticationFailed
from providers.signers.base import Signer
from providers.signers.exchange import Exchange, Token, TokenRequest, bearing, digest, endpoint, form, oauth_token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

if TYPE_CHECKING:  # loaded when the first assertion is signed: most installations never need it
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

NAMES = ("google_service_account",)
FIELD = "google_service_account_key"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
AUDIENCE = "https://oauth2.googleapis.com/token"  # who the assertion is for, through whichever address it goes there
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class Account:
    email: str
    key_id: str
    key: RSAPrivateKey = field(repr=False)


class GoogleServiceAccount(Signer):
    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        return request if token is None else bearing(request, credential, token)

    def exchange(self, request: UpstreamRequest, credential: CredentialFields, token_url: str) -> Exchange | None:
        secret = credential.reveal(origin=request.origin, name=FIELD).strip()
        if not secret:
            return None
        url = endpoint(credential, token_url, "/token")

        def build() -> TokenRequest:
            told = assertion(read_account(secret), datetime.now(UTC))
            return TokenRequest(form(url, grant_type=GRANT, assertion=told), frozenset({told, *told.split(".")}))

        return Exchange(digest("google_service_account", SCOPE, url, secret), build, oauth_token)


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return GoogleServiceAccount()


def assertion(account: Account, at: datetime) -> str:
    """The account's signed claim to a token, valid from `at` for an hour (RFC 7523, RS256)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    header = {"typ": "JWT", "alg": "RS256", "kid": account.key_id}
    moment = int(at.timestamp())
    claims = {"iat": moment, "exp": moment + LIFETIME_S, "iss": account.email, "aud": AUDIENCE, "scope": SCOPE}
    said = f"{_packed(json.dumps(header).encode())}.{_packed(json.dumps(claims).encode())}"
    return f"{said}.{_packed(account.key.sign(said.encode(), PKCS1v15(), SHA256()))}"


def read_account(secret: str) -> Account:
    """The account in a key file; raises AuthenticationFailed if it is none, which never shows what it holds."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _key_file(secret)
    if data is None:
        raise _wrong("Google Cloud needs the JSON key file of a service account; this is none.")
    if data.get("type", "service_account") != "service_account":
        raise _wrong("This is a file of another kind than a service account's key.")
    email, key_id, pem = (str(data.get(name) or "") for name in ("client_email", "private_key_id", "private_key"))
    if not re.fullmatch(r"[\x21-\x7e]+@[\x21-\x7e]+", email):
        raise _wrong("The key file names no service account (client_email).")
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _wrong("The private key in the key file cannot be read.") from None
    if not isinstance(key, RSAPrivateKey):
        raise _wrong("The private key in the key file is not an RSA key.")
    return Account(email, key_id, key)


def _key_file(secret: str) -> dict[str, Any] | None:
    try:
        text = secret if secret.startswith("{") else base64.b64decode("".join(secret.split()), validate=True)
        data = json.loads(text)
    except (ValueError, RecursionError, binascii.Error):
        return None
    return data if isinstance(data, dict) else None


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _wrong(message: str) -> AuthenticationFailed:
    hint = "In Google Cloud's console, make a JSON key for the service account, and enter that file or its Base64."
    return AuthenticationFailed(message, hint=hint, step="sign")
