"""From the name that a caller wrote to the deployments that may answer, in the order in which they are tried."""

from __future__ import annotations

import random

from gateway import errors
from gateway.names import NameAmbiguous, NameNotFound
from gateway.snapshot import MAX_REMEMBERED, Caller, Choice, Plan, TenantSnapshot
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for


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
        raise errors.unknown_model(name, filter(caller.may_use, error.candidates)) from None
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
    return Plan(plan.route, groups, plan.timeout_s, plan.max_retries)
