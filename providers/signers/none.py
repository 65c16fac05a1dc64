"""No authentication: the secret, if there is one, is not even opened."""

from __future__ import annotations

from typing import ClassVar

from providers.signers.base import Signer
from providers.signers.exchange import Token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("none",)


class Unsigned(Signer):
    constant: ClassVar[bool] = True

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        return request


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return Unsigned()
