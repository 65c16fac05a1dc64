"""AWS Signature Version 4, over the request as it is sent: "sigv4", or "sigv4:bedrock" where the host says no service.

The keys are the credential's secret, a JSON object of its parts, or those of a role (`sts.py`) where the field
`auth_mode` says so; the region is the host's, or else a field's.
Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
https://docs.aws.amazon.com/general/latest/gr/rande.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from core.origins import origin_of
from providers.errors import AuthenticationFailed, Unsupported, WrongURL
from providers.signers import sts
from providers.signers.base import Signer
from providers.signers.exchange import Exchange, Precondition, Token, TokenRequest, digest, endpoint
from providers.signers.exchange import form as form_request
from providers.target import CredentialFields
from providers.wire import UpstreamRequest, UpstreamResponse

NAMES = ("sigv4:bedrock",)
REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-\d{1,2}")
# What the parts of a credential may be called.
_ACCESS_KEY = ("bedrock_ak", "aws_access_key_id")
_SECRET_KEY = ("bedrock_sk", "aws_secret_access_key")
_SESSION_TOKEN = ("aws_session_token",)
_REGION = ("bedrock_region", "aws_region")
_MODE = "auth_mode"
# bedrock-runtime.us-east-1.amazonaws.com, …-fips.…, …api.aws, vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com
_HOST = re.compile(rf"(?:.+\.)?([a-z][a-z0-9\-]*)\.({REGION.pattern})(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
# Hosts whose first word is not the name that is signed.
_SERVICES = {"bedrock-runtime": "bedrock", "bedrock-agent-runtime": "bedrock"}
_SIGNED = frozenset({"content-type", "host", "x-amz-date", "x-amz-security-token"})


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class SigV4(Signer):
    service: str = ""

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        """Unsigned without any key."""
        if token is not None:
            keys: Keys | None = Keys(*(token.values[name] for name in sts.PARTS))
        else:
            keys = _keys(credential.reveal(origin=request.origin))
        return request if keys is None else signed(request, keys, self.scope(request, credential), datetime.now(UTC))

    def exchange(self, request: UpstreamRequest, credential: CredentialFields, token_url: str) -> Exchange | None:
        """Raises Unsupported for a way to authenticate that is unknown, or that this installation does not offer."""
        mode = credential.fields.get(_MODE) or "access_key_secret"
        if mode == "access_key_secret":
            return None
        if mode not in ("assume_role", "iam_role"):
            raise Unsupported(f"The authentication “{mode[:40]}” is not known.", step="sign")
        ours, role = mode == "iam_role", sts.role_in(credential.fields)
        external_id = credential.owner if ours else ""
        keys = _installations(credential, token_url) if ours else _keys(credential.reveal(origin=request.origin))
        if keys is None:
            raise _no_pair("A role is assumed with an access key id and a secret access key; there are none.")
        url = endpoint(credential, token_url, "/")
        session = f"llmadmin-{credential.owner}".strip("-")
        scope = SigV4("sts").scope(form_request(url), credential)

        def asking(external_id: str) -> TokenRequest:
            unsigned = form_request(url, **sts.assume_role(role, session=session, external_id=external_id))
            asked = signed(unsigned, keys, scope, datetime.now(UTC))
            return TokenRequest(asked, frozenset({keys.access_key, keys.session_token} - {""}))

        def parse(response: UpstreamResponse) -> Token:
            return sts.read(response, external_id=external_id, ours=ours)

        def check(response: UpstreamResponse) -> None:
            sts.check_that_it_is_refused(response, external_id=external_id)

        made_of = (url, scope.region, keys.access_key, keys.secret_key, keys.session_token, role, session, external_id)
        first = Precondition(lambda: asking(""), check) if ours else None
        return Exchange(digest("sts", *made_of), lambda: asking(external_id), parse, first)

    def scope(self, request: UpstreamRequest, credential: CredentialFields) -> Scope:
        """What the signature is valid for; raises WrongURL if neither the host nor the credential says it."""
        match = _HOST.fullmatch(urlsplit(request.url).hostname or "")
        named = match.group(1).removesuffix("-fips") if match else ""
        service = _SERVICES.get(named, named) or self.service
        region = match.group(2) if match else _first(credential.fields, _REGION)
        if not service or not REGION.fullmatch(region):
            raise WrongURL(
                "Neither the base URL nor the credential says which AWS region to sign for.",
                hint="Enter the region, such as us-east-1.",
                step="sign",
            )
        return Scope(region, service)


def make(argument: str) -> Signer:
    if not re.fullmatch(r"(?:[a-z][a-z0-9\-]{0,31})?", argument):
        raise ValueError("it takes the name of an AWS service, such as sigv4:bedrock")
    return SigV4(argument)


def signed(request: UpstreamRequest, keys: Keys, scope: Scope, at: datetime) -> UpstreamRequest:
    """The request with its signature, which holds for a quarter of an hour."""
    moment = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": moment}
    if keys.session_token:
        added["X-Amz-Security-Token"] = keys.session_token
    request = request.with_headers(added)
    headers = _headers(request)
    names = ";".join(name for name, _ in headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers)
    parts = urlsplit(request.url)
    digest = hashlib.sha256(request.body or b"").hexdigest()
    # The path is encoded as it is sent, and then once more.
    path = quote(re.sub("/{2,}", "/", parts.path) or "/", safe="/~")
    canonical = "\n".join((request.method, path, _query(parts.query), lines, names, digest))
    reach = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _hmac(_key(keys, moment[:8], scope), "\n".join(("AWS4-HMAC-SHA256", moment, reach, hashed))).hex()
    said = f"Credential={keys.access_key}/{reach}, SignedHeaders={names}, Signature={signature}"
    return request.with_headers({"Authorization": f"AWS4-HMAC-SHA256 {said}"})


def _headers(request: UpstreamRequest) -> list[tuple[str, str]]:
    parts = urlsplit(request.url)
    host = parts.netloc.rpartition("@")[2].lower()
    if parts.port == {"https": 443, "http": 80}.get(parts.scheme):
        host = host.rpartition(":")[0]
    found = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()} | {"host": host}
    return sorted((name, value) for name, value in found.items() if name in _SIGNED)


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))


def _key(keys: Keys, day: str, scope: Scope) -> bytes:
    key = f"AWS4{keys.secret_key}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _keys(secret: str) -> Keys | None:
    """The keys in a secret; None if there is none, AuthenticationFailed if it is not a pair of them."""
    if not secret.strip():
        return None
    try:
        parts = json.loads(secret)
    except ValueError:
        parts = None
    if isinstance(parts, dict):
        found = {name: value.strip() for name, value in parts.items() if isinstance(value, str)}
        access, hidden, token = (_first(found, names) for names in (_ACCESS_KEY, _SECRET_KEY, _SESSION_TOKEN))
        token_fits = not token or re.fullmatch(r"[\x21-\x7e]+", token)
        if re.fullmatch(r"\w{3,128}", access, re.A) and re.fullmatch(r"[\x21-\x7e]+", hidden) and token_fits:
            return Keys(access, hidden, token)
    raise _no_pair("AWS needs an access key id and a secret access key; this is not a pair of them.")


def _installations(credential: CredentialFields, token_url: str) -> Keys | None:
    """The installation's own keys, with which it assumes a role of this owner's only."""
    house = credential.installation
    if house is None or not credential.owner:
        raise Unsupported(
            "This installation has no AWS keys of its own, so it cannot assume a role (iam_role).",
            hint="Choose assume_role or access_key_secret, or ask staff to set ASSUME_ROLE_ACCESS_KEY_ID.",
            step="sign",
        )
    return _keys(house.reveal(origin=origin_of(token_url)))


def _no_pair(message: str) -> AuthenticationFailed:
    return AuthenticationFailed(message, hint="Copy both keys again.", step="sign")


def _first(values: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((values[name] for name in names if values.get(name)), "")
