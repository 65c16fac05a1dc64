"""Sealing a credential's key: for its row, its origin, and the vendor's other hosts that staff declared."""

from __future__ import annotations

from contextlib import suppress

from core.origins import origin_of
from core.secrets import SecretError, fingerprint, last4, seal
from providers.quirks import Quirks
from tenants.models import Credential


def put_secret(credential: Credential, text: str, *, also: frozenset[str] | None = None) -> None:
    """Seal a key that is entered now; one saved before brings its further origins (`also`), and gets no new ones."""
    if not text:
        credential.secret, credential.secret_last4, credential.secret_fingerprint = None, "", ""
        return
    further = declared_origins(credential) if also is None else declared_origins(credential) & also
    origin = origin_of(credential.effective_base_url)
    credential.secret = seal(text, owner=credential.owner, origin=origin, also=further)
    credential.secret_last4, credential.secret_fingerprint = last4(text), fingerprint(text)


def declared_origins(credential: Credential) -> frozenset[str]:
    """The vendor's other hosts, which the factory's quirks name for single operations and for tokens.

    A tenant's own base URL takes the place of those for operations.
    """
    quirks = Quirks.from_data(credential.factory.quirks)
    operations = () if credential.base_url else quirks.base_urls
    urls = [quirks.base_url_for(operation, credential.fields) for operation in operations]
    return frozenset({*map(origin_of, urls), token_origin(credential)} - {""})


def token_origin(credential: Credential) -> str:
    """Where the credential's tokens are had, "" if nowhere is declared: the row says it, never the tenant."""
    return origin_of(Quirks.from_data(credential.factory.quirks).token_url_for(credential.fields))


def reach(credential: Credential) -> frozenset[str]:
    """The further origins that the saved key may be sent to."""
    with suppress(SecretError):
        opened = credential.open_secret()
        return frozenset() if opened is None else opened.also
    return frozenset()


def narrow(credential: Credential) -> None:
    """Take the further origins that are not the credential's any more from its saved key."""
    with suppress(SecretError):
        opened = credential.open_secret()
        if opened is not None and opened.also:
            put_secret(credential, opened.reveal(origin=origin_of(credential.effective_base_url)), also=opened.also)
