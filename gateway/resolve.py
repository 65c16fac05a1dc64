"""From the name that a caller wrote to the deployments that may answer, in the order in which they are tried."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from gateway import errors
from gateway.names import NameAmbiguous, NameNotFound
from gateway.snapshot import MAX_REMEMBERED, Caller, Choice, Plan, TenantSnapshot
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for

MAX_SUGGESTED = 3
_ALSO = {"max_completion_tokens": "max_tokens"}


def resolve(tenant: TenantSnapshot, caller: Caller, name: str, operation: Operation) -> Plan:
    """What the name stands for, for this caller; raises GatewayError."""
    plan = tenant.plans.get((name, operation))
    if plan is None:
        plan = _resolve(tenant, caller, name, operation)
        if len(tenant.plans) < MAX_REMEMBERED:
            tenant.plans[name, operation] = plan
    if caller.models and not caller.may_use(plan.route or plan.groups[0][0].deployment.model_id, name):
        raise errors.unknown_model(name)
    return plan


def stand_in(tenant: TenantSnapshot, caller: Caller, operation: Operation) -> str:
    """The model of a chat that names none: the first loaded one of the default service, else of any.

    Raises GatewayError, if there is none that this caller may use, or for anything but chats.
    """
    if operation is not Operation.CHAT:
        raise errors.no_model()
    for name in tenant.loaded:
        if caller.may_use(name):
            return name
    raise errors.nothing_loaded()


def completed(payload: Mapping[str, Any], unsaid: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's payload with these parameters where it says nothing of them, in one way or another."""
    said = {_ALSO.get(name, name) for name, value in payload.items() if value is not None}
    return {**payload, **{name: value for name, value in unsaid.items() if name not in said}}


def suggested(tenant: TenantSnapshot, caller: Caller, name: str) -> list[str]:
    """What a caller who mistyped a name may have meant, and may use; the closest first."""
    return [one for one in tenant.names.nearest(name) if caller.may_use(one)][:MAX_SUGGESTED]


def in_turn(plan: Plan) -> list[Choice]:
    """All choices of a plan, group by group; inside a group in a random order in which the heavier come earlier."""
    groups = plan.groups
    if len(groups) == 1 and len(groups[0]) == 1:
        return [groups[0][0]]
    ordered: list[Choice] = []
    for group in groups:
        ordered += sorted(group, key=_lot, reverse=True)
    return ordered


def _lot(choice: Choice) -> float:
    """Efraimidis and Spirakis: sorted by it, a choice comes first as often as its weight says."""
    return float(random.random() ** (1 / choice.weight))  # noqa: S311


def _resolve(tenant: TenantSnapshot, caller: Caller, name: str, operation: Operation) -> Plan:
    try:
        found = tenant.names.resolve(name)
    except NameAmbiguous as error:
        raise errors.ambiguous_model(name, filter(caller.may_use, error.candidates)) from None
    except NameNotFound as error:
        usable = [one for one in error.candidates if caller.may_use(one)]
        raise errors.unknown_model(name, usable or suggested(tenant, caller, name)) from None
    if found.kind == "route":
        plan = tenant.routes[found.id]
    else:
        plan = Plan("", (tuple(Choice(one) for one in tenant.deployments.get(found.id, ())),))
    fitting = [tuple(one for one in group if operation in one.deployment.targets) for group in plan.groups]
    groups = tuple(group for group in fitting if group)
    if not groups:
        kinds = sorted({kind for group in plan.groups for one in group for kind in one.deployment.model_types})
        names = [one.deployment.model_id for group in plan.groups for one in group]
        if not kinds or not caller.may_use(name, plan.route, *names):
            raise errors.unknown_model(name)
        possible = sorted({operation_for(LLMType(kind)).value for kind in kinds})
        raise errors.wrong_type(name, kinds, possible, operation)
    deployments = [one.deployment for group in groups for one in group]
    longest_s = max((one.timeout_s or 0 for one in deployments), default=0)
    loads = any(one.load is not None for one in deployments)
    # With the settings filled in, which to ask for at each call costs more than all of this.
    timeout_s = plan.timeout_s or longest_s or settings.LLM_TIMEOUT_SECONDS
    max_retries = settings.LLM_MAX_RETRIES if plan.max_retries is None else plan.max_retries
    return Plan(plan.route, groups, timeout_s, max_retries, loads)
