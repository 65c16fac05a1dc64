"""Who calls: a bearer token, and nothing else. No session and no cookie is looked at here."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import errors
from gateway.snapshot import Caller, TenantSnapshot
from gateway.store import SnapshotStore
from tenants.services import tokens


async def authenticate(store: SnapshotStore, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Caller, TenantSnapshot]:
    """The caller and its tenant; raises GatewayError."""
    given = [value for name, value in headers if name == b"authorization"]  # ASGI has names in lower case
    if not given:
        raise errors.no_key()
    if len(given) > 1:
        raise errors.bad_key()
    found = await store.find(_digest(given[0]))
    if found is None:
        raise errors.bad_key()
    return found


def _digest(header: bytes) -> str:
    scheme, _, token = header.decode("latin-1").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not tokens.looks_like_one(token):
        raise errors.bad_key()
    return tokens.digest(token)


def require_any(caller: Caller, *scopes: str) -> None:
    """Raise GatewayError unless the token has one of these scopes."""
    if not caller.scopes.intersection(scopes):
        raise errors.missing_scope(" or ".join(f"“{scope}”" for scope in scopes))
