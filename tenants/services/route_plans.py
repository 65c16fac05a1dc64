"""What a route is to be, before it is one: written down by a form or a request, checked here without a database."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.core.exceptions import ValidationError

from core.errors import InvalidInput
from providers.fields import TYPE_CHOICES
from providers.models import VALID
from providers.services.statuses import check_status
from tenants.models import OnError, Route, RouteTarget, Strategy
from tenants.models.routes import MAX_POSITION, MAX_RETRIES, MAX_TIMEOUT_S, MAX_WEIGHT, NAME

MAX_NAME, MAX_DESCRIPTION, MAX_TARGETS = 100, 500, 50

COLUMNS = ("name", "model_type", "strategy", "status", "description", "timeout_s", "max_retries")

Faults = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """One model in a route: the tenant's own by its id, or `service~model`; it is in a route once."""

    tenant_llm_id: int | None = None
    position: int = 1
    weight: int = 1
    only_on: Sequence[str] = ()
    status: str = VALID
    service_model: str = ""

    @property
    def leads_to(self) -> tuple[int, str]:
        """What tells it from the other targets of its route."""
        return self.tenant_llm_id or 0, self.service_model

    def __str__(self) -> str:
        parts = [f"model {self.service_model or self.tenant_llm_id}, position {self.position}, weight {self.weight}"]
        parts += [f"only after {' or '.join(self.only_on)}"] if self.only_on else []
        return ", ".join([*parts, *(["disabled"] if self.status != VALID else [])])


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What a route is to be."""

    name: str
    model_type: str
    targets: Sequence[TargetPlan]
    strategy: str = Strategy.ORDERED.value
    status: str = VALID
    description: str = ""
    timeout_s: int | None = None
    max_retries: int | None = None


def plan_of(route: Route) -> RoutePlan:
    """The plan that would make the route as it is, in canonical form."""
    targets = [
        TargetPlan(row.tenant_llm_id, row.position, row.weight, tuple(row.only_on), row.status, name_of(row))
        for row in route.targets.shown()
    ]
    return RoutePlan(**{name: getattr(route, name) for name in COLUMNS}, targets=_ordered(targets))


def name_of(target: RouteTarget) -> str:
    """`service~model`; empty for a model of the tenant's own."""
    return "" if target.service_model is None else target.service_model.full_name


def checked(plan: RoutePlan) -> RoutePlan:
    """The plan in canonical form; raises InvalidInput that names each field."""
    faults: Faults = {}
    name = unicodedata.normalize("NFC", plan.name.strip())
    try:
        NAME(name)
        if len(name) > MAX_NAME:
            raise ValidationError(f"At most {MAX_NAME} characters.")
    except ValidationError as error:
        faults["name"] = list(error.messages)
    description = plan.description.strip()
    if len(description) > MAX_DESCRIPTION or not description.isprintable():
        faults["description"] = [f"At most {MAX_DESCRIPTION} printable characters."]
    _check_one_of(faults, "model_type", plan.model_type, [kind for kind, _ in TYPE_CHOICES])
    _check_one_of(faults, "strategy", plan.strategy, Strategy.values)
    check_status(plan.status)
    if plan.timeout_s is not None:
        _check_whole(faults, "timeout_s", plan.timeout_s, 1, MAX_TIMEOUT_S)
    if plan.max_retries is not None:
        _check_whole(faults, "max_retries", plan.max_retries, 0, MAX_RETRIES)
    targets = tuple(replace(target, only_on=tuple(sorted(set(target.only_on)))) for target in plan.targets)
    for number, target in enumerate(targets):
        _check_target(faults, f"targets.{number}", target)
    if len(targets) > MAX_TARGETS:
        faults["targets"] = [f"At most {MAX_TARGETS}."]
    if len({target.leads_to for target in targets}) < len(targets):
        faults["targets"] = ["Each model once."]
    if faults:
        raise InvalidInput("The route is not described correctly.", fields=faults)
    return replace(plan, name=name, description=description, targets=_ordered(targets))


def _ordered(targets: Iterable[TargetPlan]) -> tuple[TargetPlan, ...]:
    return tuple(sorted(targets, key=lambda target: (target.position, target.leads_to)))


def _check_target(faults: Faults, field: str, target: TargetPlan) -> None:
    if (target.tenant_llm_id is None) == (not target.service_model):
        faults[field] = ["Either a model of the tenant, or one of a service."]
    _check_whole(faults, f"{field}.position", target.position, 1, MAX_POSITION)
    _check_whole(faults, f"{field}.weight", target.weight, 1, MAX_WEIGHT)
    for code in target.only_on:
        _check_one_of(faults, f"{field}.only_on", code, OnError.values)
    check_status(target.status)


def _check_whole(faults: Faults, field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        faults[field] = [f"A whole number from {low} to {high}."]


def _check_one_of(faults: Faults, field: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        faults[field] = [f"One of: {', '.join(known)}."]
