"""The models of services that a tenant may use, as the gateway calls them: `service~model`.

Each URL of a service is a deployment of its own, so calls are balanced, and one that fails rests by itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

import structlog
from django.conf import settings

from core.errors import AppError
from gateway.deployments import Deployment, Load, streamed
from providers.errors import UpstreamError
from providers.llm_types import LLMType
from runtimes.models import CallDefaults, ModelState, ServiceModel
from runtimes.services import calls
from usage.pricing import Price

logger = structlog.get_logger(__name__)

OPERATOR = "operator"  # who says what a service's models cost


def load(tenant_id: str, *, but: Container[str] = ()) -> tuple[list[Deployment], tuple[str, ...]]:
    """What the tenant may call of services; and its loaded chat models by name, those of the default service first.

    What cannot be called as its service is configured is left out, and said in the log; so are names in `but`.
    """
    found: list[Deployment] = []
    loaded: list[tuple[bool, str]] = []
    models = ServiceModel.objects.for_tenant(tenant_id).select_related("service").order_by("service__name", "name")
    for _, of_service in groupby(models, key=lambda model: model.service_id):
        first, *rest = of_service
        service = first.service
        try:
            reach = calls.reach(service)
            stand_ins = []
            ways: list[Deployment] = []
            for model in (first, *rest):
                if (name := f"{service.name}~{model.name}") in but:
                    continue
                made = list(_deployments(model, name, reach))
                ways += made
                if made and model.state == ModelState.LOADED and LLMType.CHAT in made[0].model_types:
                    stand_ins.append((not service.is_default, name))
        except (AppError, UpstreamError, ValueError, TypeError) as error:
            logger.warning("gateway.service_left_out", service=service.name, error=type(error).__name__)
            continue
        found += ways
        loaded += stand_ins
    return found, tuple(name for _, name in sorted(loaded))


def unsaid() -> dict[str, Any]:
    """The parameters that a chat gets which names no model and says none."""
    row = CallDefaults.current()
    given = {"temperature": row.temperature, "max_tokens": row.max_tokens}
    return {name: value for name, value in given.items() if value is not None}


def _deployments(model: ServiceModel, name: str, reach: calls.Reach) -> Iterator[Deployment]:
    policy = reach.policy
    most_s = max(policy.total_timeout_s, settings.LLM_TIMEOUT_SECONDS)
    # A local model may think long before its first word, and then talk for longer: only silence ends a stream.
    stream_policy = replace(streamed(policy), first_byte_timeout_s=policy.total_timeout_s, total_timeout_s=most_s)
    price = _price(model)
    waiting = Load(model.pk, name) if calls.waits_for_load(model, reach) else None
    for way in calls.ways(model, reach):
        if not way.targets:
            continue
        yield Deployment(
            key=f"{name} {way.url}",
            tenant_llm_id=None,
            model_id=name,
            llm_name=model.name,
            factory=model.service.name,
            model_types=calls.types_of(model),
            targets=way.targets,
            policy=policy,
            stream_policy=stream_policy,
            price=price,
            max_tokens=model.max_tokens or 0,
            is_tools=model.tooling,
            created=int(model.first_seen_at.timestamp()),
            shown_as=name,
            streams=reach.capabilities["streaming"],
            service_model_id=model.pk,
            load=waiting,
            timeout_s=most_s if waiting is None else most_s + policy.total_timeout_s,
        )


def _price(model: ServiceModel) -> Price | None:
    said = calls.prices(model)
    if said is None:
        return None
    return Price.of(
        input_price=said.input,
        output_price=said.output,
        cached_input_price=said.cached_input,
        price_source=OPERATOR,
    )
