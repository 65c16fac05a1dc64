"""iFlytek's signature in the query of a WebSocket's address: HMAC-SHA256 over host, date and request line.

The keys are the credential's secret, a JSON object of API key and API secret; a signature holds for five minutes.
Source: https://www.xfyun.cn/doc/tts/online_tts/API.html (接口鉴权)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, urlsplit

from providers.signers.base import Signer
from providers.signers.exchange import Token
from providers.signers.pairs import Pair, read_pair
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("xunfei",)


class XunFei(Signer):
    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        """Unsigned without any key."""
        said = "iFlytek needs an API key and an API secret; this is not a pair of them."
        names = (("spark_api_key", "api_key"), ("spark_api_secret", "api_secret"))
        pair = read_pair(request, credential, *names, missing=said)
        return request if pair is None else signed(request, pair, datetime.now(UTC))


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return XunFei()


def signed(request: UpstreamRequest, pair: Pair, at: datetime) -> UpstreamRequest:
    parts = urlsplit(request.url)
    date = format_datetime(at.astimezone(UTC), usegmt=True)
    lines = f"host: {request.host}\ndate: {date}\n{request.method} {parts.path} HTTP/1.1"
    signature = base64.b64encode(hmac.new(pair.key.encode(), lines.encode(), hashlib.sha256).digest()).decode()
    said = f'api_key="{pair.id}", algorithm="hmac-sha256", headers="host date request-line", signature="{signature}"'
    query = {"authorization": base64.b64encode(said.encode()).decode(), "date": date, "host": request.host}
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return replace(request, url=f"{request.url}{'&' if parts.query else '?'}{added}")
