"""Baidu's Qianfan: an API key (bce-v3/…) as it is, or a short-lived one that an access key and a secret key are given.

The older keys of an “application” buy tokens for the API before v2 only, which Baidu has ended for new users.
Sources: https://cloud.baidu.com/doc/Reference/s/Gm5z8ryv5 (创建API Key（短期）) and
https://cloud.baidu.com/doc/Reference/s/njwvz1yfu (生成认证字符串)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from providers.dialects import failures
from providers.dialects.bodies import load_object, read_problem, unexpected
from providers.errors import AuthenticationFailed, UpstreamError
from providers.signers.base import Signer, header_secret
from providers.signers.exchange import MAX_LIFETIME_S, Exchange, Token, TokenRequest, bearing, digest, endpoint
from providers.signers.pairs import Pair, read_pair
from providers.target import CredentialFields
from providers.wire import UpstreamRequest, UpstreamResponse

NAMES = ("qianfan",)
API_KEY = "bce-v3/"
PATH = "/v1/BCE-BEARER/token"
LIFETIME_S = 86_400
VALID_S = 1800
_FIELD, _SECOND = "yiyan_ak", "yiyan_sk"
_REFUSED = {"invalidaccesskeyid", "signaturedoesnotmatch", "invalidhttpauthheader", "requestexpired"}
HINT = (
    "Enter an API key of Qianfan (bce-v3/…), or the access key and secret key of Baidu's security console; "
    "the keys of an application are not for this API."
)


class Qianfan(Signer):
    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        """Unsigned without any key."""
        if token is not None:
            return bearing(request, credential, token)
        key = _api_key(request, credential)
        return request.with_headers({"Authorization": f"Bearer {key}"}) if key else request

    def exchange(self, request: UpstreamRequest, credential: CredentialFields, token_url: str) -> Exchange | None:
        if _api_key(request, credential):
            return None
        said = "Qianfan needs an API key, or an access key and a secret key; this is neither."
        pair = read_pair(request, credential, (_FIELD,), (_SECOND,), missing=said)
        if pair is None:
            return None
        url = endpoint(credential, token_url, PATH)

        def build() -> TokenRequest:
            asked = asking(url, pair, datetime.now(UTC))
            return TokenRequest(asked, frozenset({*pair, asked.headers["Authorization"]}))

        return Exchange(digest("qianfan", url, *pair), build, read)


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return Qianfan()


def asking(url: str, pair: Pair, at: datetime) -> UpstreamRequest:
    """The request for an API key that lives for a day."""
    query = {"expireInSeconds": str(LIFETIME_S)}
    request = UpstreamRequest("GET", f"{url}?expireInSeconds={LIFETIME_S}", {"Accept": "application/json"})
    moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = authorization("GET", PATH, query, {"host": request.host, "x-bce-date": moment}, pair, moment)
    return request.with_headers({"x-bce-date": moment, "User-Agent": "llmadmin", "Authorization": signed})


def authorization(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], pair: Pair, moment: str
) -> str:
    """Baidu's bce-auth-v1 over all of these headers, whose names are lower-case."""
    start = f"bce-auth-v1/{pair.id}/{moment}/{VALID_S}"
    key = hmac.new(pair.key.encode(), start.encode(), hashlib.sha256).hexdigest()
    asked = "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in query.items()))
    lines = sorted(f"{_encoded(name)}:{_encoded(value.strip())}" for name, value in headers.items())
    canonical = "\n".join((method, quote(path, safe="/-_.~"), asked, *lines))
    signature = hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()
    return f"{start}/{';'.join(sorted(headers))}/{signature}"


def read(response: UpstreamResponse) -> Token:
    """The short-lived API key in an answer, whose words about a refusal are of the credential."""
    if not 200 <= response.status < 300:
        raise _refusal(response)
    data = load_object(response.headers, response.body)
    token, until = data.get("token"), _moment(data.get("expireTime"))
    if not isinstance(token, str) or not token.startswith(API_KEY) or not token.isprintable() or until is None:
        raise unexpected("The answer holds no API key.", {}, b"")  # which must not be shown if it is there
    return Token({"access_token": token}, min(until, datetime.now(UTC) + timedelta(seconds=MAX_LIFETIME_S)))


def _refusal(response: UpstreamResponse) -> UpstreamError:
    problem = read_problem(response.body)
    if response.status in (400, 401) or _REFUSED & set(problem.codes):
        return failures.make(AuthenticationFailed, problem, status=response.status, hint=HINT)
    return failures.classify(response.status, response.headers, response.body)


def _api_key(request: UpstreamRequest, credential: CredentialFields) -> str:
    """The key of the credential if it goes into a header as it is: an API key, or any that stands alone; else ""."""
    key = header_secret(request, credential, _FIELD)
    alone = not credential.settings(origin=request.origin).get(_SECOND)
    return key if key.startswith(API_KEY) or alone else ""


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
