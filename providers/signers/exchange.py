"""What a signer that needs a token from another call declares: the request for it, and how to read its answer.

exchange = signer.exchange(request, credential, token_url)      None: this credential needs no token
exchange.build() ──▶ TokenRequest ── sent by providers/tokens.py ──▶ exchange.parse(response) ──▶ Token
signer.sign(request, credential, token)
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from core.origins import origin_of
from providers.dialects import failures
from providers.dialects.bodies import Problem, load_object, read_problem, unexpected, words
from providers.errors import AuthenticationFailed, Overloaded, RateLimited, UpstreamError, WrongURL
from providers.target import CredentialFields
from providers.wire import UpstreamRequest, UpstreamResponse

MAX_LIFETIME_S = 86_400.0
_PROCESS_KEY = secrets.token_bytes(32)
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_CLOCK = re.compile(r"\biat and exp\b|\bissued in the future\b|\bAADSTS700024\b", re.I)
# Of a refusal by status 400, what is not the credential's fault: https://www.rfc-editor.org/rfc/rfc8628#section-3.5,
# https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
_PASSING: dict[str, failures.Kind] = {
    "slow_down": RateLimited,
    "temporarily_unavailable": Overloaded,
    "server_error": Overloaded,
}


@dataclass(frozen=True, slots=True)
class Token:
    """What an exchange gave: its values by name, each of them secret, and when they expire (aware UTC)."""

    values: Mapping[str, str] = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request for a token, and what in it must not be repeated by anybody: an assertion, a client's secret."""

    request: UpstreamRequest
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True, slots=True)
class Precondition:
    """A call that comes before each exchange. `check` raises UpstreamError if its answer forbids that."""

    build: Callable[[], TokenRequest] = field(repr=False)
    check: Callable[[UpstreamResponse], None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Another call that a signature needs. Two exchanges of one `identity` (see `digest`) give the same token.

    `build` is called for each request anew, since assertions carry the time; it raises AuthenticationFailed for a
    credential that cannot be used. `parse` raises UpstreamError for an answer without a token.
    """

    identity: str
    build: Callable[[], TokenRequest] = field(repr=False)
    parse: Callable[[UpstreamResponse], Token] = field(repr=False)
    precondition: Precondition | None = field(default=None, repr=False)


def endpoint(credential: CredentialFields, token_url: str, path: str) -> str:
    """The address under the declared `token_url`; raises WrongURL if none is, SecretError if the key is not for it."""
    if not token_url:
        raise WrongURL(
            "The factory does not say where the tokens for its calls are had.",
            hint="Staff: declare its quirk token_url; a field that it names must be a region.",
            step="sign",
        )
    credential.reveal(origin=origin_of(token_url))
    return token_url + path


def form(url: str, **fields: str) -> UpstreamRequest:
    """A POST of form fields, as token endpoints take them."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return UpstreamRequest("POST", url, {**headers, "User-Agent": "llmadmin"}, urlencode(fields).encode())


def bearing(request: UpstreamRequest, credential: CredentialFields, token: Token) -> UpstreamRequest:
    """The request with an access token, which goes only where its key may go; raises SecretError."""
    credential.reveal(origin=request.origin)
    return request.with_headers({"Authorization": f"Bearer {token.values['access_token']}"})


def digest(*parts: str) -> str:
    """What tells one token from another without saying what it was made from; differs from process to process."""
    hashed = hashlib.blake2b(key=_PROCESS_KEY, digest_size=32)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


def oauth_token(response: UpstreamResponse) -> Token:
    """The access token in an OAuth answer. Sources: https://www.rfc-editor.org/rfc/rfc6749#section-5.1 and 5.2"""
    if not 200 <= response.status < 300:
        raise refusal(response)
    data = load_object(response.headers, response.body)
    token, lifetime = data.get("access_token"), lifetime_s(data.get("expires_in"))
    if not isinstance(token, str) or not _HEADER_SAFE.fullmatch(token) or lifetime is None:
        raise unexpected("The answer holds no access token.", {}, b"")  # which must not be shown if it is there
    return Token({"access_token": token}, datetime.now(UTC) + timedelta(seconds=lifetime))


def lifetime_s(value: object) -> float | None:
    """Seconds that a token lives, as an answer says them in a number or in digits; None if it does not."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value, re.A):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    return min(float(value), MAX_LIFETIME_S)


def refusal(response: UpstreamResponse) -> UpstreamError:
    """Why there is no token. Our request is always the same, so what is refused as invalid is the credential."""
    if response.status not in (400, 401, 422):
        return failures.classify(response.status, response.headers, response.body)
    try:
        data = load_object(response.headers, response.body)
    except UpstreamError:
        data = {}
    code, said = (data[name] if isinstance(data.get(name), str) else "" for name in ("error", "error_description"))
    message = f"{code}: {said}".strip(" :") if code else read_problem(response.body).message
    problem = Problem(words(message, 300), (words(code.lower(), 80),) if code else (), structured=bool(code))
    kind = _PASSING.get(code, AuthenticationFailed)
    hint = "The clock of this server may be wrong: correct it." if _CLOCK.search(message) else ""
    wait = failures.retry_after_s(response.headers)
    return failures.make(kind, problem, status=response.status, hint=hint, retry_after_s=wait)
