"""The key in a header that the row names: "header:x-api-key", or with a scheme, "header:authorization:Token".

A third part names the key where the secret is an object: "header:authorization:token:access_token".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from providers.signers.base import Signer, header_secret
from providers.signers.exchange import Token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("header:api-key", "header:x-api-key", "header:x-goog-api-key")
# These say where and how a request goes, so a key has no place in them.
_RESERVED = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie"}
    | {"expect", "host", "location", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}
)


@dataclass(frozen=True, slots=True)
class Header(Signer):
    name: str
    scheme: str = ""
    member: str = ""
    constant: ClassVar[bool] = True

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        key = header_secret(request, credential, self.member)
        return request.with_headers({self.name: f"{self.scheme} {key}".strip()}) if key else request


def make(argument: str) -> Signer:
    name, _, rest = argument.partition(":")
    scheme, _, member = rest.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-]{0,63}", name) or name.lower() in _RESERVED:
        raise ValueError("it needs the name of a header, such as header:x-api-key")
    if scheme and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-]{0,31}", scheme):
        raise ValueError("the scheme is one word, such as header:authorization:Token")
    if member and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", member):
        raise ValueError("the key's name is one word, such as header:authorization:token:access_token")
    return Header(name, scheme, member)
