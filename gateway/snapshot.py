"""What the gateway remembers of a tenant: an immutable picture of who may call, and which models there are.

A picture is taken from the database when a tenant is first asked for. It carries the version it was taken at, read
before anything else, so that a change which comes in between makes it out of date and never goes unnoticed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import structlog

from core.clock import now
from core.secrets import OpenSecret, SecretError
from gateway import deployments, services
from gateway.deployments import Deployment
from gateway.names import Names
from providers.models import VALID, LLMFactory
from tenants.models import DEFAULT_MODEL_COLUMNS, LangfuseProject, RoutingChange, Tenant
from tenants.models.routing import EVERYBODY, NEVER, Stamp
from tenants.services import routes, tokens
from tenants.services.routes import UsableTarget
from usage.admission import Lines
from usage.services import limits

logger = structlog.get_logger(__name__)

Version = tuple[Stamp, Stamp]  # of the tenant, and of what concerns everybody


@dataclass(frozen=True, slots=True)
class Caller:
    """What a token may do. `models` are the names that it is kept to; none means all."""

    token_id: str
    tenant_id: str
    scopes: frozenset[str]
    expires_at: datetime | None
    models: tuple[str, ...] = ()

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()

    def may_use(self, *names: str) -> bool:
        """Whether the token may use what has these names."""
        return not self.models or any(tokens.allows(self.models, name) for name in names)


@dataclass(frozen=True, slots=True)
class Choice:
    """A deployment, how often it is taken among its equals, and after which errors alone it is tried (all if none)."""

    deployment: Deployment
    weight: float = 1
    only_on: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """Groups in order of fallback; inside a group the load is balanced. `route` is "" for a plain model.

    `loads`: some may have to be loaded first.
    """

    route: str
    groups: tuple[tuple[Choice, ...], ...]
    timeout_s: float | None = None
    max_retries: int | None = None
    loads: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """What the tenant may call; `id` is `name@factory`, `service~name`, or the route's name."""

    id: str
    owned_by: str
    created: int


@dataclass(frozen=True, slots=True, eq=False)
class Tracing:
    """Where a tenant's traces go; `content`: with what was asked and answered."""

    tenant_id: str
    host: str
    secret: OpenSecret
    content: bool


@dataclass(frozen=True, slots=True)
class TenantSnapshot:
    """`plans` and `bounds` remember what was worked out for names and tokens that have come."""

    tenant_id: str
    version: Version
    callers: Mapping[str, Caller]  # by the digest of their token
    models: Mapping[str, Model]  # by id
    names: Names
    deployments: Mapping[str, tuple[Deployment, ...]]  # by the model's id
    routes: Mapping[str, Plan]  # by name
    lines: Lines
    is_enabled: bool = True
    defaults: Mapping[str, str] = field(default_factory=dict)  # the model of each type where a call names none
    plans: dict[Any, Plan] = field(default_factory=dict, repr=False)
    bounds: dict[Any, Any] = field(default_factory=dict, repr=False)
    tracing: Tracing | None = None
    loaded: tuple[str, ...] = ()  # what may stand in for a model that a chat does not name, in this order
    unsaid: Mapping[str, Any] = field(default_factory=dict)  # parameters that such a chat gets if it says none


MAX_REMEMBERED = 10_000  # plans or bounds of a tenant


def load(tenant_id: str) -> TenantSnapshot:
    """Take the picture of one tenant."""
    version = versions([tenant_id])[tenant_id]
    callers = {}
    for token in tokens.presentable(at=now()).filter(tenant=tenant_id):
        scopes = tokens.principal(token).scopes
        callers[token.digest] = Caller(token.pk, tenant_id, scopes, token.expires_at, tuple(token.allowed_models))
    own = deployments.load(tenant_id)
    taken = {one.model_id for one in own}
    served, loaded = services.load(tenant_id, but=taken)
    by_row: dict[tuple[int | None, int | None], list[Deployment]] = defaultdict(list)
    grouped: dict[str, list[Deployment]] = defaultdict(list)
    models: dict[str, Model] = {}
    for one in (*own, *served):
        by_row[one.tenant_llm_id, one.service_model_id].append(one)
        grouped[one.model_id].append(one)
        models.setdefault(one.model_id, Model(one.model_id, one.factory, one.created))
    plans = {}
    for route in routes.for_tenant(tenant_id):
        groups = tuple(
            tuple(
                choice
                for target in group
                for choice in _choices(target, by_row.get((target.tenant_llm_id, target.service_model_id), ()))
            )
            for group in route.groups
        )
        plans[route.name] = Plan(route.name, groups, route.timeout_s, route.max_retries)
        models.setdefault(route.name, Model(route.name, "route", 0))
    return TenantSnapshot(
        tenant_id,
        version,
        MappingProxyType(callers),
        MappingProxyType(dict(sorted(models.items()))),
        Names.build(
            [(one.model_id, one.llm_name, one.factory) for one in own],
            plans,
            set(LLMFactory.objects.values_list("name", flat=True)),
            [(one.model_id, one.llm_name) for one in served],
        ),
        MappingProxyType({name: tuple(ones) for name, ones in grouped.items()}),
        MappingProxyType(plans),
        limits.lines_for(tenant_id),
        **_own(tenant_id),
        tracing=_tracing(tenant_id),
        loaded=loaded,
        unsaid=services.unsaid(),
    )


def _choices(target: UsableTarget, ways: Sequence[Deployment]) -> Iterator[Choice]:
    """A route's target; the URLs of a service share its weight."""
    for way in ways:
        yield Choice(way, target.weight / len(ways), target.only_on)


def _tracing(tenant_id: str) -> Tracing | None:
    """Where the tenant's traces go; None if nowhere, or if the keys cannot be read."""
    row = LangfuseProject.objects.filter(tenant=tenant_id).first()
    try:
        secret = row.open_secret() if row is not None else None
    except SecretError as error:
        logger.warning("traces.keys_unreadable", tenant=tenant_id, error=error.code)
        return None
    return Tracing(tenant_id, row.host, secret, row.content) if row is not None and secret is not None else None


def _own(tenant_id: str) -> dict[str, Any]:
    """What a tenant says about itself."""
    tenant = Tenant.objects.filter(pk=tenant_id, status=VALID).first()
    chosen = {kind.value: getattr(tenant, column, "") for kind, column in DEFAULT_MODEL_COLUMNS.items()}
    return {"is_enabled": tenant is not None, "defaults": MappingProxyType(chosen)}


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
