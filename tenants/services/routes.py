"""Routes: a tenant's public names for models. The only place that writes them.

Deleting a model, or the credential or service it is used through, takes it out of the routes: they go on with the
targets that are left. A route without one stays and answers like a name that does not exist, until it is given another
target. A service that the tenant may not use any more is passed over, and used again when it may.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, QuerySet

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict, InvalidInput, NotFound
from providers.llm_types import LLMType
from providers.models import VALID, LLMFactory
from providers.services.statuses import check_status
from runtimes.models import LLMService, ServiceModel
from tenants.models import DEFAULT_MODEL_COLUMNS, Route, RouteTarget, Strategy, Tenant, TenantLLM
from tenants.services import routing
from tenants.services.route_plans import COLUMNS, RoutePlan, TargetPlan, checked, name_of, plan_of


@transaction.atomic
def create(*, tenant: Tenant, plan: RoutePlan, actor: Actor) -> Route:
    """A new route; raises InvalidInput, NotFound (a target is neither the tenant's nor of a service that it may use) or
    Conflict (the name is taken)."""
    tenant = _locked(tenant.pk)
    plan = checked(plan)
    _hold_services(tenant, plan.targets)
    _check_prefix(plan.name)
    served = _check_targets(tenant, plan, plan.targets)
    route = Route(tenant=tenant)
    _put(route, plan)
    _put_targets(route, plan.targets, served)
    _record("route.created", route, actor, model_type=plan.model_type, targets=len(plan.targets))
    return route


@transaction.atomic
def update(route: Route, *, actor: Actor, **changes: Any) -> Route:
    """Change the given fields of its plan; `targets` replaces all of them. Raises the same as `create`.

    The tenant's default models follow a new name; what applications call it and tokens are restricted to does not.
    """
    tenant = _locked(route.tenant_id)
    route = _fresh(route)
    _hold_services(tenant, changes.get("targets", ()), route)
    before, defaults = plan_of(route), default_columns(tenant, route)
    plan = checked(replace(before, **changes))
    if plan == before:
        return route
    if plan.name != before.name:
        _check_prefix(plan.name)
    served: dict[str, ServiceModel] = {}
    if (plan.targets, plan.model_type) != (before.targets, before.model_type):
        present = before.targets if plan.model_type == before.model_type else ()
        known = {target.leads_to for target in present}
        served = _check_targets(tenant, plan, [target for target in plan.targets if target.leads_to not in known])
    _put(route, plan)
    if plan.targets != before.targets:
        _put_targets(route, plan.targets, served)
    _record("route.updated", route, actor, changes=_differences(before, plan))
    if plan.name != before.name and defaults:
        _rename_defaults(tenant, defaults, route, actor)
    return route


@transaction.atomic
def set_status(rows: Iterable[Route], *, status: str, actor: Actor) -> int:
    """Enable ("1") or disable ("0") routes; how many there were."""
    check_status(status)
    found = list(rows)
    Route.objects.filter(pk__in=[row.pk for row in found]).update(status=status, updated_at=now())
    for row in found:
        _record("route.enabled" if status == VALID else "route.disabled", row, actor)
    return len(found)


@transaction.atomic
def delete(route: Route, *, actor: Actor) -> None:
    """Remove a route. The models behind it stay; a default model that names it stays too, and finds nothing."""
    tenant = _locked(route.tenant_id)
    route = _fresh(route)
    _record("route.deleted", route, actor, defaults=default_columns(tenant, route))
    route.delete()


def default_columns(tenant: Tenant, route: Route) -> list[str]:
    """The columns of the tenant's default models that name the route."""
    column = DEFAULT_MODEL_COLUMNS[LLMType(route.model_type)]
    return [column] if getattr(tenant, column) == route.name else []


# --- What is routed -------------------------------------------------------------------------------------------------


class UsableTarget(NamedTuple):
    """A model of the tenant's own, or of a service: one of the ids is None. `only_on`: codes of errors after one of
    which alone it is tried; empty for a target like any other."""

    tenant_llm_id: int | None
    weight: int
    only_on: frozenset[str]
    service_model_id: int | None = None


class UsableRoute(NamedTuple):
    """`groups` in the order of fallback; the targets of one group share the calls by weight."""

    name: str
    model_type: str
    timeout_s: int | None
    max_retries: int | None
    groups: tuple[tuple[UsableTarget, ...], ...]


def for_tenant(tenant_id: str) -> tuple[UsableRoute, ...]:
    """The enabled routes of a tenant with their usable targets, by name; one query.

    A route none of whose usable targets takes a first call is left out.
    """
    own = TenantLLM.objects.for_tenant(tenant_id).usable()
    served = ServiceModel.objects.for_tenant(tenant_id)
    rows: QuerySet[Any] = (
        RouteTarget.objects.filter(Q(tenant_llm__in=own) | Q(service_model__in=served))
        .filter(route__tenant=tenant_id, route__status=VALID, status=VALID)
        .select_related("route")
        .annotate(kinds=F("tenant_llm__model_types"), served_kinds=F("service_model__model_types"))
        .order_by("route__name", "position", "id")
    )
    groups: dict[Route, dict[int, list[UsableTarget]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        route = row.route
        if route.model_type in (row.kinds or row.served_kinds or ()):
            group = groups[route][row.position if route.strategy == Strategy.ORDERED else 0]
            target = UsableTarget(row.tenant_llm_id, row.weight, frozenset(row.only_on), row.service_model_id)
            group.append(target)
    return tuple(
        UsableRoute(route.name, route.model_type, route.timeout_s, route.max_retries, tuple(map(tuple, found.values())))
        for route, found in groups.items()
        if any(not target.only_on for group in found.values() for target in group)
    )


# --- What it means for routes when models go ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loss:
    """What the deletion of some models would take from a route. `of`: whose it is, where that is to be said."""

    route: Route
    lost: int
    left: int
    of: str = ""

    def __str__(self) -> str:
        name = f"{self.route.name}{self.of and f' of {self.of}'}"
        if not self.left:
            return f"The route {name} loses its last target, and answers nobody"
        return f"The route {name} loses {self.lost} of its {self.lost + self.left} targets"


def losses(models: QuerySet[TenantLLM]) -> list[Loss]:
    """The routes that these models are targets of; one query."""
    rows = _losing(RouteTarget.objects.filter(tenant_llm__in=models)).order_by("name")
    return [Loss(row, row.lost, row.total - row.lost) for row in rows]


def losses_with_services(services: Iterable[LLMService], *, at_most: int) -> list[Loss]:
    """The routes of all tenants that lose targets with these services; one query."""
    rows = _losing(RouteTarget.objects.filter(service_model__service__in=services)).select_related("tenant")
    found = rows.order_by("tenant__name", "name")[:at_most]
    return [Loss(row, row.lost, row.total - row.lost, row.tenant.name) for row in found]


def _losing(targets: QuerySet[RouteTarget]) -> QuerySet[Any]:
    lost = Count("targets", filter=Q(targets__in=targets))
    return Route.objects.filter(pk__in=targets.values("route")).annotate(lost=lost, total=Count("targets"))


def names_by_model(model_ids: Iterable[int]) -> dict[int, list[str]]:
    """The names of the routes that each of these models is a target of."""
    rows = RouteTarget.objects.filter(tenant_llm__in=list(model_ids)).order_by("route__name")
    names: dict[int, list[str]] = defaultdict(list)
    for model_id, name in rows.values_list("tenant_llm", "route__name"):
        names[model_id].append(name)
    return names


def hand_over(replaced: Mapping[int, int]) -> None:
    """Let other models take the places that some have in routes: `{model's id: its successor's id}`."""
    for row in RouteTarget.objects.filter(tenant_llm__in=list(replaced)).order_by("id"):
        successor = replaced[row.tenant_llm_id]  # type: ignore[index]  # it is one of them
        if not RouteTarget.objects.filter(route=row.route_id, tenant_llm=successor).exists():
            row.tenant_llm_id = successor
            row.save(update_fields=["tenant_llm"])


# --- Parts ----------------------------------------------------------------------------------------------------------


def _locked(tenant_id: str) -> Tenant:
    """Writers of one tenant take turns, those that delete models among them."""
    tenant = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
    if tenant is None:
        raise NotFound("There is no such tenant.")
    return tenant


def _fresh(route: Route) -> Route:
    found = Route.objects.filter(pk=route.pk).first()
    if found is None:
        raise NotFound("There is no such route.")
    return found


def _hold_services(tenant: Tenant, targets: Iterable[TargetPlan], route: Route | None = None) -> None:
    """Whoever deletes a service that the route leads to, or is to lead to, waits for the end of the transaction.

    All are locked at once and in one order, so that no two writers wait for each other.
    """
    names = {plan.service_model.partition("~")[0] for plan in targets if "\0" not in plan.service_model} - {""}
    kept = RouteTarget.objects.filter(route=route).exclude(service_model=None).values("service_model__service")
    news = LLMService.objects.for_tenant(tenant.pk).filter(name__in=names).order_by().values("pk")
    held = LLMService.objects.filter(Q(pk__in=news) | Q(pk__in=kept)).order_by("pk")
    list(held.select_for_update(no_key=True).values_list("pk", flat=True))


def _check_prefix(name: str) -> None:
    """`factory/model` is how a factory's model may be called: a route must not look like one."""
    vendor, slash, _ = name.partition("/")
    if slash and LLMFactory.objects.filter(name=vendor).exists():
        raise InvalidInput(
            f"A name that begins with {vendor}/ means a model of that factory.",
            fields={"name": ["Must not begin with a factory's name and a slash."]},
        )


def _check_targets(tenant: Tenant, plan: RoutePlan, news: Sequence[TargetPlan]) -> dict[str, ServiceModel]:
    """Raise unless the plan can answer a call, and the new targets are models that do its type, of the tenant or of
    services that it may use; answers the latter by their names."""
    if all(target.only_on for target in plan.targets):
        raise InvalidInput(
            "A route needs a target that calls go to first.",
            hint="Add a model, and leave “only_on” of at least one empty.",
            fields={"targets": ["At least one without only_on."]},
        )
    ids = [target.tenant_llm_id for target in news if target.tenant_llm_id is not None]
    names = [target.service_model for target in news if target.service_model]
    rows = TenantLLM.objects.for_tenant(tenant).saved().select_related("factory").in_bulk(ids)
    models = ServiceModel.objects.for_tenant(tenant.pk).named(names).select_related("service") if names else ()
    served = {model.full_name: model for model in models}
    missing = [*(str(pk) for pk in ids if pk not in rows), *(name for name in names if name not in served)]
    if missing:
        raise NotFound(f"There is no such model: {', '.join(missing[:5])}.")
    every: list[TenantLLM | ServiceModel] = [*rows.values(), *served.values()]
    if unfit := [str(row) for row in every if plan.model_type not in (row.model_types or ())]:
        fault = f"Not for {plan.model_type}: {', '.join(sorted(unfit)[:5])}."
        raise InvalidInput("The route is not described correctly.", fields={"targets": [fault]})
    return served


def _put(route: Route, plan: RoutePlan) -> None:
    for name in COLUMNS:
        setattr(route, name, getattr(plan, name))
    try:
        with transaction.atomic():
            route.save()
    except IntegrityError as error:
        raise Conflict(f"There is a route {plan.name} already.", hint="Choose another name, or change it.") from error


def _put_targets(route: Route, targets: Sequence[TargetPlan], served: Mapping[str, ServiceModel]) -> None:
    """Make the route have these targets; one whose model stays keeps its row. `served`: models of services by name."""
    present = {(row.tenant_llm_id or 0, name_of(row)): row for row in route.targets.shown()}
    for plan in targets:
        model = served.get(plan.service_model)
        row = present.pop(plan.leads_to, None)
        row = row or RouteTarget(route=route, tenant_llm_id=plan.tenant_llm_id, service_model=model)
        row.position, row.weight, row.only_on, row.status = plan.position, plan.weight, list(plan.only_on), plan.status
        row.save()
    RouteTarget.objects.filter(pk__in=[row.pk for row in present.values()]).delete()


def _rename_defaults(tenant: Tenant, columns: Sequence[str], route: Route, actor: Actor) -> None:
    changes = {column: {"from": getattr(tenant, column), "to": route.name} for column in columns}
    for column in columns:
        setattr(tenant, column, route.name)
    tenant.save(update_fields=[*columns, "updated_at"])
    audit.record("tenant.defaults_changed", actor=actor, tenant_id=tenant.pk, target=tenant.name, changes=changes)


def _differences(before: RoutePlan, after: RoutePlan) -> dict[str, Any]:
    changes = {name: (getattr(before, name), getattr(after, name)) for name in COLUMNS}
    changes["targets"] = ([str(target) for target in before.targets], [str(target) for target in after.targets])
    return {name: {"from": old, "to": new} for name, (old, new) in changes.items() if old != new}


def _record(action: str, route: Route, actor: Actor, **detail: Any) -> None:
    routing.bump(route.tenant_id)
    audit.record(action, actor=actor, tenant_id=route.tenant_id, target=route.name, route=route.pk, **detail)
