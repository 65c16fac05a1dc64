"""One of everything that a tenant can own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from jobs.models import Job
from providers.models import LLM, LLMFactory
from tenants.models import ApiToken, AuditEvent, Credential, Membership, Probe, Route, Tenant, TenantLLM
from tenants.models.listing import ModelListing
from tenants.services import credentials, routes
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.people import People, actor_of, make_member, make_token
from tests.runtimes.making import make_service
from tests.usage.calls import make_call
from usage.models import Budget, RateLimit, UsageDaily, UsageRecord
from usage.services import budgets, ledger, limits

KEY = "sk-world-0123456789"
OWNED = (
    *(ApiToken, AuditEvent, Budget, Credential, Membership, Probe, RateLimit, Route, TenantLLM, Job),
    *(UsageDaily, UsageRecord),
)


@dataclass
class World:
    people: People
    factory: LLMFactory
    llm: LLM
    credential: Credential
    tenant_llm: TenantLLM
    route: Route
    probe: Probe
    job: Job
    token: ApiToken
    membership: Membership
    event: AuditEvent
    usage_record: UsageRecord
    rate_limit: RateLimit
    budget: Budget

    @property
    def tenant(self) -> Tenant:
        return self.people.tenant

    def grow(self, count: int) -> None:
        """More of everything."""
        for number in range(count):
            factory = LLMFactory.objects.create(name=f"More {LLMFactory.objects.count()} {number}", base_url=URL)
            LLM.objects.create(factory=factory, llm_name="more", model_types=["chat"])
            fill(self.people, factory)
            make_service(URL)

    def owned(self) -> dict[str, Any]:
        """All rows of the tenant, for comparison."""
        rows = {
            model.__name__: list(model.objects.filter(tenant_id=self.tenant.pk).order_by("pk").values())
            for model in OWNED
        }
        for token in rows["ApiToken"]:
            del token["last_used_at"]
        return {**rows, "Tenant": Tenant.objects.filter(pk=self.tenant.pk).values().first()}


URL = "https://vendor.example/v1"


def fill(people: People, factory: LLMFactory) -> dict[str, Any]:
    tenant, owner = people.tenant, actor_of(people.owner)
    credential = credentials.create(tenant=tenant, factory=factory, values={"api_key": KEY}, actor=owner)
    listed = [{"name": name, "types": ["chat"], "source": "upstream"} for name in ("gpt", "gpt-new")]
    ModelListing.objects.create(credential=credential, version=credentials.version_of(credential), entries=listed)
    row = {"tenant": tenant, "credential": credential, "factory": factory, "llm_name": "gpt"}
    job = Job.objects.create(type="probe", tenant_id=tenant.pk, state="failed", created_by=people.owner)
    text = make_token(tenant, user=people.owner)
    model = TenantLLM.objects.create(**row, model_types=["chat"])
    token = ApiToken.objects.get(prefix=text[:12])
    call = make_call(tenant_id=tenant.pk, token_id=token.pk, tenant_llm_id=model.pk)
    ledger.ingest([call])
    plan = RoutePlan(f"route-{factory.pk}", "chat", [TargetPlan(model.pk)])
    return {
        "credential": credential,
        "tenant_llm": model,
        "usage_record": UsageRecord.objects.get(pk=call.id),
        "rate_limit": limits.create(tenant=tenant, token=token, requests_per_minute=60, actor=owner),
        "budget": budgets.create(tenant=tenant, token=token, amount="100", actor=owner),
        "route": routes.create(tenant=tenant, plan=plan, actor=owner),
        "job": job,
        "probe": Probe.objects.create(**row, job=job, model_type="chat", verdict="ok", step="body"),
        "token": token,
        "membership": Membership.objects.get(tenant=tenant, user=make_member(tenant)),
        "event": AuditEvent.objects.create(
            action="thing.done", tenant_id=tenant.pk, user=people.owner, actor="someone"
        ),
    }


def make_world(people: People) -> World:
    factory = LLMFactory.objects.create(name="Vendor", tags="LLM,RERANK", base_url=URL)
    llm = LLM.objects.create(factory=factory, llm_name="gpt", model_types=["chat", "image2text"], max_tokens=8192)
    return World(people=people, factory=factory, llm=llm, **fill(people, factory))


def session(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def bearer(plain: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {plain}"})
