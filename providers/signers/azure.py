"""Azure: the key in the header `api-key`, or a token that Microsoft Entra gives to an application.

Which it is says the credential's field `auth_mode`: `api_key`, or `entra_id`, where the key is the application's client
secret.
Sources: https://learn.microsoft.com/azure/foundry/openai/reference#authentication,
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import re

from providers.errors import AuthenticationFailed, Unsupported
from providers.signers.base import Signer, header_secret
from providers.signers.exchange import Exchange, Token, TokenRequest, bearing, digest, endpoint, form, oauth_token
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

NAMES = ("azure",)
SCOPE = "https://cognitiveservices.azure.com/.default"
TENANT, CLIENT = "entra_tenant_id", "entra_client_id"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,252}")  # a GUID or a domain
_CLIENT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Azure(Signer):
    def sign(
        self, request: UpstreamRequest, credential: CredentialFields, token: Token | None = None
    ) -> UpstreamRequest:
        if token is not None:
            return bearing(request, credential, token)
        key = header_secret(request, credential)
        return request.with_headers({"api-key": key}) if key else request

    def exchange(self, request: UpstreamRequest, credential: CredentialFields, token_url: str) -> Exchange | None:
        """Raises Unsupported for an unknown way to authenticate."""
        mode = credential.fields.get("auth_mode") or "api_key"
        if mode == "api_key":
            return None
        if mode != "entra_id":
            raise Unsupported(f"The authentication “{mode[:40]}” is not known.", step="sign")
        secret = credential.reveal(origin=request.origin, name="api_key").strip()
        tenant, client = (credential.fields.get(name, "").strip() for name in (TENANT, CLIENT))
        if not secret or not _TENANT.fullmatch(tenant) or not _CLIENT.fullmatch(client):
            raise AuthenticationFailed(
                "Microsoft Entra needs a tenant id, an application's client id, and its client secret.",
                hint="In the Azure portal, look at the application's overview and its certificates and secrets.",
                step="sign",
            )
        url = endpoint(credential, token_url, f"/{tenant}/oauth2/v2.0/token")

        def build() -> TokenRequest:
            asked = form(url, grant_type="client_credentials", client_id=client, client_secret=secret, scope=SCOPE)
            return TokenRequest(asked, frozenset({secret}))

        return Exchange(digest("entra", SCOPE, url, client, secret), build, oauth_token)


def make(argument: str) -> Signer:
    if argument:
        raise ValueError("it takes no argument")
    return Azure()
