"""`Authorization: Bearer <key>`; a request without a key goes unsigned. Source: https://www.rfc-editor.org/rfc/rfc6750"""

from __future__ import annotations

from typing import ClassVar

from providers.signers.base import Signer, header_secret
from providers.signers.exchange import Token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("bearer",)


class Bearer(Signer):
    constant: ClassVar[bool] = True

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        key = header_secret(request, credential)
        return request.with_headers({"Authorization": f"Bearer {key}"}) if key else request


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return Bearer()
