"""The key as a field of an uploaded form: "form:api_key" puts that field in front of the form's others.

Source: https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from providers.errors import AuthenticationFailed, Unsupported
from providers.signers.base import Signer, header_secret
from providers.signers.exchange import Token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("form:api_key",)
_BOUNDARY = re.compile(r'multipart/form-data;\s*boundary="?([\w\-]{1,70})"?', re.I | re.A)


@dataclass(frozen=True, slots=True)
class Form(Signer):
    field: str

    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        """Raises Unsupported for a request that has no form."""
        key = header_secret(request, credential)
        if not key:
            return request
        kinds = [value for name, value in request.headers.items() if name.lower() == "content-type"]
        match = _BOUNDARY.fullmatch(kinds[0]) if len(kinds) == 1 else None
        if match is None or request.body is None:
            raise Unsupported("The key belongs into a form, and this request has none.", step="sign")
        start = f"--{match.group(1)}"
        if start in key:
            raise AuthenticationFailed("The key holds what parts the fields of a form.", step="sign")
        part = f'{start}\r\nContent-Disposition: form-data; name="{self.field}"\r\n\r\n{key}\r\n'
        return replace(request, body=part.encode() + request.body)


def make(argument: str) -> Signer:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_\-]{0,63}", argument):
        raise ValueError("it needs the name of a field, such as form:api_key")
    return Form(argument)
