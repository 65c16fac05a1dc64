"""What a signer is, and the care that a key needs on its way into a header."""

from __future__ import annotations

import re
from typing import ClassVar, Protocol

from providers.errors import AuthenticationFailed
from providers.signers.exchange import Exchange, Token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

_HEADER_SAFE = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


class Signer(Protocol):
    """Returns the request with the credential's secret in it, which is revealed only for the request's origin.

    `constant`: what it adds is the same for every request with these headers to this origin.

    One that needs a token first declares the exchange for it; `sign` then gets the token. Neither does any I/O.
    """

    constant: ClassVar[bool] = False

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest: ...

    def exchange(self, request: UpstreamRequest, credential: CredentialFields, token_url: str) -> Exchange | None:
        """How this credential gets the token for the request, at the address that the factory's row declares.

        None if it needs none. Raises AuthenticationFailed for a credential that can get none, WrongURL without address.
        """
        return None


def header_secret(request: UpstreamRequest, credential: CredentialFields, member: str = "") -> str:
    """The key for a header of this request, "" if there is none; AuthenticationFailed if no header can hold it.

    `member` names it where the secret is an object of settings, which is never sent as a whole.
    """
    key = credential.reveal(origin=request.origin, name=member or "api_key").strip()
    if member and key.startswith("{"):
        return ""
    if key and not _HEADER_SAFE.fullmatch(key):
        raise AuthenticationFailed(
            "The key holds characters that no API key has.",
            hint="Copy the key again: it seems to hold a line break, or letters that only look like Latin ones.",
            step="sign",
        )
    return key
