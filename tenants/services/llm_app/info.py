"""The caller's tenant: its name and its default models."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from core.audit import Actor
from tenants.models import Tenant
from tenants.services import defaults, tenants


@transaction.atomic
def set_tenant_info(tenant: Tenant, *, values: Mapping[str, str], name: str | None = None, actor: Actor) -> None:
    """Rename the tenant and choose its default models (`{"llm_id": "name@factory"}`), all or nothing."""
    if name is not None and name != tenant.name:
        tenants.update(tenant, name=name, actor=actor)
    defaults.set_default_models(tenant, values=values, actor=actor)
