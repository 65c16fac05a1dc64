"""A tenant's models as the gateway calls them: each with where it leads, what it costs, and how long it may take.

They are the tenant's own, each through one of its credentials, and those of the services that it may use
(`gateway/services.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import structlog
from django.conf import settings

from core.errors import AppError
from providers import dialects
from providers.errors import UpstreamError
from providers.llm_types import LLMType
from providers.models import LLM
from providers.target import Target
from providers.upstream import Policy
from providers.wire import Operation, operation_for
from tenants.models import TenantLLM
from tenants.services import credentials
from usage.pricing import Price

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model through one credential, or through one URL of a service; several deployments may share a `model_id`.

    `key` is what it is known by where its failures are counted.
    """

    key: int | str
    tenant_llm_id: int | None  # None for a service's
    model_id: str  # `name@factory` or `service~name`
    llm_name: str
    factory: str
    model_types: tuple[str, ...]
    targets: Mapping[Operation, Target]
    policy: Policy
    stream_policy: Policy
    price: Price | None
    max_tokens: int
    is_tools: bool
    created: int
    shown_as: str = ""  # the model's name in answers; "" leaves what the upstream says
    streams: bool = True
    service_model_id: int | None = None  # None for the tenant's own
    load: Load | None = None
    timeout_s: float | None = None  # for all that a call of it takes; None: LLM_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be done before a model can be called that its runtime does not load by itself."""

    model_id: int  # of the ServiceModel
    name: str


def load(tenant_id: str) -> tuple[Deployment, ...]:
    """What the tenant's calls may be sent to. One whose key cannot be read is left out, and said in the log."""
    rows = (
        TenantLLM.objects.for_tenant(tenant_id)
        .usable()
        .select_related("credential__factory", "factory", "llm")
        .order_by("created_at", "id")
    )
    found = []
    for row in rows:
        try:
            found.append(_deployment(row))
        except (AppError, UpstreamError, ValueError) as error:
            logger.warning("gateway.model_left_out", tenant_llm=row.pk, error=type(error).__name__)
    return tuple(found)


def _deployment(row: TenantLLM) -> Deployment:
    policy = _policy(row)
    return Deployment(
        key=row.pk,
        tenant_llm_id=row.pk,
        model_id=f"{row.llm_name}@{row.factory.name}",
        llm_name=row.llm_name,
        factory=row.factory.name,
        model_types=tuple(row.model_types),
        targets=MappingProxyType(dict(_targets(row))),
        policy=policy,
        stream_policy=streamed(policy),
        price=_price(row.llm),
        max_tokens=row.max_tokens,
        is_tools=row.supports_tools,
        created=int(row.created_at.timestamp()),
    )


def streamed(policy: Policy) -> Policy:
    """The same for an answer that is read as it comes."""
    return replace(
        policy,
        first_byte_timeout_s=settings.GATEWAY_FIRST_BYTE_TIMEOUT_S,
        idle_timeout_s=settings.GATEWAY_IDLE_TIMEOUT_S,
    )


def _price(llm: LLM | None) -> Price | None:
    if llm is None:
        return None
    return Price.of(
        input_price=llm.input_price,
        output_price=llm.output_price,
        cached_input_price=llm.cached_input_price,
        price_detail=llm.price_detail,
        price_source=llm.price_source,
    )


def _targets(row: TenantLLM) -> Iterable[tuple[Operation, Target]]:
    """By operation; where two types share one, the first that the model has decides."""
    done = set()
    for model_type in (kind for kind in LLMType if kind in row.model_types):
        operation = operation_for(model_type)
        if operation in done:
            continue
        done.add(operation)
        target = credentials.target_for(row.credential, llm_name=row.llm_name, model_type=model_type, llm=row.llm)
        if dialects.is_installed(target.dialect) and operation in dialects.operations(target.dialect):
            yield operation, target


def _policy(row: TenantLLM) -> Policy:
    return replace(
        credentials.policy_for(row.credential.factory, total_timeout_s=settings.LLM_TIMEOUT_SECONDS),
        connect_timeout_s=settings.GATEWAY_CONNECT_TIMEOUT_S,
        max_body_bytes=settings.GATEWAY_MAX_REPLY_BYTES,
    )
