"""Services whose models a fake on a real socket serves, for the tests of the gateway."""

from __future__ import annotations

from typing import Any

from runtimes.models import Audience, LLMService, ModelState, ServiceModel, ServiceTenant
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office

LOOPBACK = ["127.0.0.0/8"]
KINDS = {"fake-chat": ["chat"], "fake-embedding": ["embedding"], "fake-rerank": ["rerank"]}


def make_service(*upstreams: FakeUpstream, name: str = "den", type: str = "ollama", **columns: Any) -> LLMService:
    """An enabled service at these, with a loaded model of each kind."""
    given = {"urls": [one.root for one in upstreams], "allowed_networks": LOOPBACK, "is_enabled": True, **columns}
    service = LLMService.objects.create(name=name, type=type, **given)
    for model, kinds in KINDS.items():
        add_model(service, model, model_types=kinds)
    return service


def add_model(service: LLMService, name: str, **columns: Any) -> ServiceModel:
    given = {"model_types": ["chat"], "state": ModelState.LOADED, **columns}
    return ServiceModel.objects.create(service=service, name=name, **given)


def keep_to(service: LLMService, *offices: Office) -> None:
    """Let these tenants use it, and nobody else."""
    service.audience = Audience.SOME
    service.save()
    for office in offices:
        ServiceTenant.objects.create(service=service, tenant_id=office.tenant.pk)
