"""A factory whose upstream is a fake one, and ways to put keys to it."""

from __future__ import annotations

from typing import Any

from core.audit import Actor
from jobs.models import Job
from providers.models import LLM, LLMFactory
from tenants.models import Credential, Tenant
from tenants.services import credentials, drafts, tenant_llms
from tenants.services.tenant_llms import ModelPlan
from tests.fakes.upstream import KEY, FakeUpstream

ACTOR = Actor(label="test")
WRONG_KEY = "sk-wrong-9876543210zyxwvu"


def make_factory(name: str = "Fake", **values: Any) -> LLMFactory:
    return LLMFactory.objects.create(name=name, **{"quirks": {"version_path": "/v1"}, **values})


def offer(factory: LLMFactory, **types_by_name: str) -> list[LLM]:
    """Catalogue rows: `offer(factory, fake_chat="chat")`; underscores stand for dashes."""
    rows = [(name.replace("_", "-"), kinds.split(",")) for name, kinds in types_by_name.items()]
    return [LLM.objects.create(factory=factory, llm_name=name, model_types=kinds) for name, kinds in rows]


def plan(name: str, *kinds: str, **values: Any) -> ModelPlan:
    return ModelPlan(name, list(kinds), **values)


def save_credential(tenant: Tenant, factory: LLMFactory, upstream: FakeUpstream | None, **values: Any) -> Credential:
    """A saved, untested credential."""
    values.setdefault("values", {"api_key": KEY})
    values.setdefault("base_url", upstream.url if upstream else "")
    return credentials.create(tenant=tenant, factory=factory, actor=ACTOR, **values)


def serve(credential: Credential, **types_by_name: str) -> None:
    """Let the tenant use models through the credential."""
    for name, kinds in types_by_name.items():
        tenant_llms.add(
            credential=credential, llm_name=name.replace("_", "-"), model_types=kinds.split(","), actor=ACTOR
        )


def submit(tenant: Tenant, factory: LLMFactory, base_url: str | None, *models: ModelPlan, **values: Any) -> Job:
    """Put a key to the test; with jobs run at once, the finished job."""
    values.setdefault("values", {"api_key": KEY})
    job = drafts.submit(tenant=tenant, factory=factory, base_url=base_url, models=list(models), actor=ACTOR, **values)
    job.refresh_from_db()
    return job
