"""The one door to what tenants own (their jobs are kept, and fetched, in the room of jobs).

Every function takes the caller and an id, and answers with a row of the caller's own tenant or raises NotFound: a
stranger cannot tell a foreign row from none. `scope` is checked first, so that a caller without the right learns
nothing either way.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from core.errors import NotFound
from core.principal import Principal
from tenants.models import (
    ApiToken,
    AuditEvent,
    Credential,
    LangfuseProject,
    Membership,
    Probe,
    Route,
    Tenant,
    TenantLLM,
)

Row = TypeVar("Row", bound=Model)


def _one(rows: QuerySet[Row], pk: object, what: str) -> Row:
    try:
        # PostgreSQL fails on a NUL in a text instead of finding nothing.
        row = None if isinstance(pk, str) and "\0" in pk else rows.filter(pk=pk).first()
    except (ValueError, TypeError, OverflowError):
        row = None
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row


def tenant(principal: Principal, *, scope: str = "read") -> Tenant:
    """The tenant that the caller acts for."""
    principal.require(scope)
    return _one(Tenant.objects.all(), principal.tenant_id or None, "tenant")


def credentials(principal: Principal, *, scope: str = "read") -> QuerySet[Credential]:
    principal.require(scope)
    return Credential.objects.for_tenant(principal.tenant_id).saved().select_related("factory", "tenant")


def credential(principal: Principal, pk: str, *, scope: str = "read") -> Credential:
    return _one(credentials(principal, scope=scope), pk, "credential")


def tenant_llms(principal: Principal, *, scope: str = "read") -> QuerySet[TenantLLM]:
    principal.require(scope)
    rows = TenantLLM.objects.for_tenant(principal.tenant_id).saved()
    return rows.select_related("factory", "credential", "llm", "credential__factory")


def tenant_llm(principal: Principal, pk: object, *, scope: str = "read") -> TenantLLM:
    return _one(tenant_llms(principal, scope=scope), pk, "model")


def routes(principal: Principal, *, scope: str = "read") -> QuerySet[Route]:
    principal.require(scope)
    return Route.objects.for_tenant(principal.tenant_id)


def route(principal: Principal, pk: str, *, scope: str = "read") -> Route:
    return _one(routes(principal, scope=scope), pk, "route")


def langfuse(principal: Principal, *, scope: str = "read") -> LangfuseProject:
    """The tenant's one."""
    principal.require(scope)
    row = LangfuseProject.objects.filter(tenant=principal.tenant_id or None).first()
    if row is None:
        raise NotFound("There is no Langfuse project.")
    return row


def probes(principal: Principal) -> QuerySet[Probe]:
    principal.require("read")
    return Probe.objects.for_tenant(principal.tenant_id).select_related("factory", "credential")


def tokens(principal: Principal, *, scope: str = "read") -> QuerySet[ApiToken]:
    principal.require(scope)
    return ApiToken.objects.filter(tenant=principal.tenant_id)


def token(principal: Principal, pk: str, *, scope: str = "read") -> ApiToken:
    return _one(tokens(principal, scope=scope), pk, "token")


def memberships(principal: Principal, *, scope: str = "read") -> QuerySet[Membership]:
    principal.require(scope)
    return Membership.objects.filter(tenant=principal.tenant_id).select_related("user", "tenant")


def membership(principal: Principal, pk: object, *, scope: str = "read") -> Membership:
    return _one(memberships(principal, scope=scope), pk, "member")


def audit_events(principal: Principal) -> QuerySet[AuditEvent]:
    principal.require("write")
    if not principal.tenant_id:
        return AuditEvent.objects.none()
    return AuditEvent.objects.for_tenant(principal.tenant_id)
