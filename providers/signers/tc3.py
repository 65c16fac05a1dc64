"""Tencent Cloud's signature v3 (TC3-HMAC-SHA256): "tc3", or "tc3:asr" where the host names no service.

The keys are the credential's secret, a JSON object of SecretId and SecretKey.
Source: https://cloud.tencent.com/document/api/1093/35641 (签名方法 v3)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from providers.errors import AuthenticationFailed, WrongURL
from providers.signers.base import Signer
from providers.signers.exchange import Token
from providers.signers.pairs import Pair, read_pair
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("tc3", "tc3:asr")
ALGORITHM = "TC3-HMAC-SHA256"
_ID = ("tencent_cloud_sid", "secret_id")
_KEY = ("tencent_cloud_sk", "secret_key")
# asr.tencentcloudapi.com, asr.ap-guangzhou.tencentcloudapi.com, asr.intl.tencentcloudapi.com
_HOST = re.compile(r"([a-z][a-z0-9\-]{0,31})(?:\.[a-z0-9\-]+)*\.tencentcloudapi\.com")


@dataclass(frozen=True, slots=True)
class TC3(Signer):
    service: str = ""

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        """Raises WrongURL if nothing says which service is called; unsigned without any key."""
        said = "Tencent Cloud needs a SecretId and a SecretKey; this is not a pair of them."
        pair = read_pair(request, credential, _ID, _KEY, missing=said)
        if pair is None:
            return request
        if not re.fullmatch(r"[\w\-]+", pair.id, re.A):
            raise AuthenticationFailed(said, hint="Copy both keys again.", step="sign")
        return signed(request, pair, self.service_of(request), datetime.now(UTC))

    def service_of(self, request: UpstreamRequest) -> str:
        match = _HOST.fullmatch(urlsplit(request.url).hostname or "")
        if service := match.group(1) if match else self.service:
            return service
        raise WrongURL(
            "The base URL does not say which service of Tencent Cloud to sign for.",
            hint="Use its own address, such as https://asr.tencentcloudapi.com.",
            step="sign",
        )


def make(argument: str) -> Signer:
    if not re.fullmatch(r"(?:[a-z][a-z0-9\-]{0,31})?", argument):
        raise ValueError("it takes the name of a service of Tencent Cloud, such as tc3:asr")
    return TC3(argument)


def signed(request: UpstreamRequest, pair: Pair, service: str, at: datetime) -> UpstreamRequest:
    """The POST with its signature, which holds for five minutes."""
    moment = str(int(at.timestamp()))
    day = at.astimezone(UTC).strftime("%Y-%m-%d")
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    lines = f"content-type:{kind}\nhost:{request.host}\n"
    body = hashlib.sha256(request.body or b"").hexdigest()
    canonical = "\n".join((request.method, "/", "", lines, "content-type;host", body))
    scope = f"{day}/{service}/tc3_request"
    text = "\n".join((ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"TC3{pair.key}".encode()
    for part in (day, service, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    said = f"{ALGORITHM} Credential={pair.id}/{scope}, SignedHeaders=content-type;host, Signature={signature}"
    return request.with_headers({"Authorization": said, "X-TC-Timestamp": moment})
