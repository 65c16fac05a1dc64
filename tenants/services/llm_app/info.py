"""The caller's tenant: its name and its default models."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from core.audit import Actor
from tenants.models import DEFAULT_MODEL_COLUMNS, Tenant
from tenants.services import defaults, tenants


def default_models(tenant: Tenant) -> dict[str, str]:
    """The tenant's default models by column, as `list` names them."""
    return {column: defaults.as_listed(getattr(tenant, column)) for column in DEFAULT_MODEL_COLUMNS.values()}


@transaction.atomic
def set_tenant_info(tenant: Tenant, *, values: Mapping[str, str], name: str | None = None, actor: Actor) -> None:
    """Rename the tenant and choose its default models (`{"llm_id": "name@factory"}`), all or nothing."""
    if name is not None and name != tenant.name:
        tenants.update(tenant, name=name, actor=actor)
    defaults.set_default_models(tenant, values=values, actor=actor)
