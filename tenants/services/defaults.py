"""Which model a tenant uses for each type when a call names none."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.db.models import Q, QuerySet

from core import audit
from core.audit import Actor
from core.errors import InvalidInput
from providers.llm_types import LLMType
from providers.models import LLM, VALID, LLMFactory
from runtimes.models import ServiceModel
from tenants.models import DEFAULT_MODEL_COLUMNS, Route, Tenant, TenantLLM

TYPE_OF_COLUMN = {column: kind for kind, column in DEFAULT_MODEL_COLUMNS.items()}
MAX_LENGTH = 256


@transaction.atomic
def set_default_models(tenant: Tenant, *, values: Mapping[str, str], actor: Actor) -> Tenant:
    """Choose default models: `{"llm_id": "name@factory"}`; "" clears one, a column that is not named stays.

    Each must be an enabled route or model of the tenant (or a model that a self-deployed factory offers to everybody,
    or `service~name` of a service that it may use, as which `name@service` is kept, too) that has the column's type.
    A route comes before a model that has the same bare name.
    A value that does not change is not looked at again, so that a form can send all of them back.
    """
    tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
    faults: dict[str, list[str]] = {}
    changes: dict[str, dict[str, str]] = {}
    for column, value in values.items():
        if column not in TYPE_OF_COLUMN:
            faults[column] = [f"Not a default model. Known: {', '.join(TYPE_OF_COLUMN)}."]
            continue
        before = getattr(tenant, column)
        chosen = value.strip() if isinstance(value, str) else value
        try:
            if chosen and chosen == as_listed(before):
                chosen = before
            if chosen and chosen != before:
                chosen = _find(tenant, chosen, TYPE_OF_COLUMN[column])
        except InvalidInput as error:
            faults[column] = [str(error)]
            continue
        if chosen != before:
            changes[column] = {"from": before, "to": chosen}
    if faults:
        raise InvalidInput("Some of the default models cannot be chosen.", fields=faults)
    if changes:
        for column, change in changes.items():
            setattr(tenant, column, change["to"])
        tenant.save(update_fields=[*changes, "updated_at"])
        audit.record("tenant.defaults_changed", actor=actor, tenant_id=tenant.pk, target=tenant.name, changes=changes)
    return tenant


def choosable(tenant: Tenant) -> tuple[QuerySet[TenantLLM], QuerySet[LLM]]:
    """The tenant's own enabled models, and those that self-deployed factories offer to everybody."""
    own = TenantLLM.objects.for_tenant(tenant).saved().filter(status=VALID, factory__status=VALID)
    return own, LLM.objects.valid().filter(factory__status=VALID, factory__self_deployed=True)


def choosable_routes(tenant: Tenant) -> QuerySet[Route]:
    """The tenant's enabled routes."""
    return Route.objects.for_tenant(tenant).valid()


def choosable_served(tenant: Tenant) -> QuerySet[ServiceModel]:
    """The models of the services that the tenant may use."""
    return ServiceModel.objects.for_tenant(tenant.pk).select_related("service").defer("service__secret")


def as_listed(default: str) -> str:
    """A default model as RAGFlow's clients know it: `name@service` for `service~name`, where that means the same."""
    service, tilde, name = default.partition("~")
    own, _, last = name.rpartition("@")
    if not tilde or LLMFactory.objects.filter(name__in=[service, *([last] if own else [])]).exists():
        return default
    return f"{name}@{service}"


def _served(tenant: Tenant, wanted: str) -> dict[str, set[str]]:
    """The models of services that are called so, each in one way or another, and their types."""
    service, _, own = wanted.partition("~")
    name, _, last = wanted.rpartition("@")
    meant = Q(service__name=service, name=own) | Q(name=wanted)
    if not LLMFactory.objects.filter(name=last).exists():
        meant |= Q(service__name=last, name=name)
    found = {model.full_name: set(model.model_types or ()) for model in choosable_served(tenant).filter(meant)}
    return {wanted: found[wanted]} if wanted in found else found


def _find(tenant: Tenant, wanted: str, kind: LLMType) -> str:
    """The full name of the one model that is meant; raises InvalidInput that says what to choose from."""
    if not isinstance(wanted, str) or len(wanted) > MAX_LENGTH or not wanted.isprintable():
        raise InvalidInput("This is not a model's name.")
    if (route := choosable_routes(tenant).filter(name=wanted).first()) is not None:
        if route.model_type != kind:
            raise InvalidInput(f"The route “{wanted}” is not for {kind.value}.")
        return route.name
    name, _, factory = wanted.rpartition("@")
    meant = Q(llm_name=name, factory__name=factory) | Q(llm_name=wanted)
    found: dict[str, set[str]] = {}
    for rows in choosable(tenant):
        for llm_name, factory_name, types in rows.filter(meant).values_list("llm_name", "factory__name", "model_types"):
            found.setdefault(f"{llm_name}@{factory_name}", set()).update(types)
    if wanted in found:  # as written it names exactly one
        found = {wanted: found[wanted]}
    if not found:
        found = _served(tenant, wanted)
    if not found:
        raise InvalidInput(f"“{wanted}” is not an enabled model of this tenant.")
    fitting = sorted(full_name for full_name, types in found.items() if kind.value in types)
    if not fitting:
        raise InvalidInput(f"“{wanted}” is not a model for {kind.value}.")
    if len(fitting) > 1:
        raise InvalidInput(f"“{wanted}” could be any of: {', '.join(fitting)}.")
    return fitting[0]
