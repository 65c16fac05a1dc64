"""Tenants themselves: made with their first owner, changed, deleted with everything they own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from core import audit
from core.audit import Actor
from core.errors import InvalidInput
from jobs.models import Job
from providers.services.statuses import check_status
from tenants.models import Membership, Role, Tenant
from tenants.services.names import clean_name


@transaction.atomic
def create(*, name: str, owner: User, email: str = "", actor: Actor) -> Tenant:
    """A new tenant, owned by `owner`."""
    tenant = Tenant.objects.create(name=clean_name(name), email=_clean_email(email))
    Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER, founding=True)
    audit.record("tenant.created", actor=actor, tenant_id=tenant.pk, target=tenant.name, owner=owner.get_username())
    return tenant


@transaction.atomic
def update(
    tenant: Tenant, *, actor: Actor, name: str | None = None, email: str | None = None, status: str | None = None
) -> Tenant:
    """Change what is given; None leaves a field as it is."""
    wanted: dict[str, Any] = {
        "name": None if name is None else clean_name(name),
        "email": None if email is None else _clean_email(email),
        "status": None if status is None else check_status(status),
    }
    tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
    changes = {
        field: {"from": getattr(tenant, field), "to": value}
        for field, value in wanted.items()
        if value is not None and value != getattr(tenant, field)
    }
    if changes:
        for field, change in changes.items():
            setattr(tenant, field, change["to"])
        tenant.save(update_fields=[*changes, "updated_at"])
        audit.record("tenant.updated", actor=actor, tenant_id=tenant.pk, target=tenant.name, changes=changes)
    return tenant


@transaction.atomic
def delete(tenant: Tenant, *, actor: Actor) -> None:
    """Remove a tenant and all it owns: keys, models, tokens, probes, jobs, memberships. The audit log stays."""
    pk, name = tenant.pk, tenant.name
    Job.objects.for_tenant(pk).delete()
    _, rows = Tenant.objects.filter(pk=pk).delete()
    removed = {label.split(".")[-1]: count for label, count in sorted(rows.items())}
    audit.record("tenant.deleted", actor=actor, tenant_id=pk, target=name, removed=removed)


def _clean_email(email: str) -> str:
    email = email.strip()
    if email:
        try:
            validate_email(email)
        except ValidationError as error:
            raise InvalidInput("This is not an e-mail address.", fields={"email": error.messages}) from error
        if len(email) > 254:
            raise InvalidInput("The e-mail address is too long.", fields={"email": ["At most 254 characters."]})
    return email
