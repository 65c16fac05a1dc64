"""What the gateway remembers of a tenant: an immutable picture of who may call, and which models there are.

A picture is taken from the database when a tenant is first asked for. It carries the version it was taken at, read
before anything else, so that a change which comes in between makes it out of date and never goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from core.clock import now
from tenants.models import RoutingChange, TenantLLM
from tenants.models.routing import EVERYBODY, NEVER, Stamp
from tenants.services import tokens

Version = tuple[Stamp, Stamp]  # of the tenant, and of what concerns everybody


@dataclass(frozen=True, slots=True)
class Caller:
    """What a token may do."""

    token_id: str
    tenant_id: str
    scopes: frozenset[str]
    expires_at: datetime | None

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the tenant may call, through one credential or several; `id` is `name@factory`."""

    id: str
    owned_by: str
    created: int


@dataclass(frozen=True, slots=True)
class TenantSnapshot:
    tenant_id: str
    version: Version
    callers: Mapping[str, Caller]  # by the digest of their token
    models: Mapping[str, Model]  # by id


def load(tenant_id: str) -> TenantSnapshot:
    """Take the picture of one tenant."""
    version = versions([tenant_id])[tenant_id]
    callers = {}
    for token in tokens.presentable(at=now()).filter(tenant=tenant_id):
        scopes = tokens.principal(token).scopes
        callers[token.digest] = Caller(token.pk, tenant_id, scopes, token.expires_at)
    models: dict[str, Model] = {}
    rows = TenantLLM.objects.for_tenant(tenant_id).usable().order_by("created_at", "id")
    for name, factory, created_at in rows.values_list("llm_name", "factory__name", "created_at"):
        model_id = f"{name}@{factory}"
        models.setdefault(model_id, Model(model_id, factory, int(created_at.timestamp())))
    return TenantSnapshot(tenant_id, version, MappingProxyType(callers), MappingProxyType(dict(sorted(models.items()))))


def tenant_of(digest: str) -> str | None:
    """Whose token it is; None if it is good for nothing."""
    return tokens.presentable(at=now()).filter(digest=digest).values_list("tenant_id", flat=True).first()


def versions(tenant_ids: Iterable[str]) -> dict[str, Version]:
    """The current version of each of these tenants."""
    wanted = list(tenant_ids)
    stamps: dict[str, Stamp] = {}
    for start in range(0, max(len(wanted), 1), 500):
        stamps |= RoutingChange.objects.all().stamps([EVERYBODY, *wanted[start : start + 500]])
    everybody = stamps.get(EVERYBODY, NEVER)
    return {tenant_id: (stamps.get(tenant_id, NEVER), everybody) for tenant_id in wanted}
