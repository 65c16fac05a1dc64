"""Rows to look at, and people who look at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from core.audit import SYSTEM
from jobs.models import Job, JobState
from providers.models import LLM, LLMFactory
from runtimes.models import Audience, Health, LLMService, ServiceEvent, ServiceTenant
from runtimes.services import services
from tenants.models import ApiToken, Credential, Membership, Probe, Role, Tenant, TenantLLM
from tenants.services import credentials, routes
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.people import make_tenant, make_token, make_user
from tests.runtimes.making import make_model, make_service
from tests.usage.calls import make_call
from usage.services import budgets, ledger, limits

KEY = "sk-admin-test-0123456789"


@pytest.fixture
def root(db: None) -> User:
    return make_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    def make(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make


@pytest.fixture
def admin(root: User, client_of: Callable[[User], Client]) -> Client:
    return client_of(root)


@pytest.fixture
def member_of(db: None, client_of: Callable[[User], Client]) -> Callable[[str], Client]:
    """The client of a staff user of one group."""

    def make(group: str) -> Client:
        user = make_user(group.replace(" ", "-"), is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        return client_of(user)

    return make


@pytest.fixture
def factory(db: None) -> LLMFactory:
    factory = LLMFactory.objects.create(
        name="Acme",
        tags="LLM",
        base_url="https://api.acme.test/v1",
        credential_fields=[
            {"name": "api_key", "label": "API key", "secret": True, "required": True},
            {"name": "region", "label": "Region", "secret": False, "default": "eu", "choices": ["eu", "us"]},
        ],
    )
    LLM.objects.create(factory=factory, llm_name="acme-chat", model_types=["chat"], max_tokens=8192)
    LLM.objects.create(factory=factory, llm_name="acme-embed", model_types=["embedding"])
    return factory


@pytest.fixture
def tenant(root: User) -> Tenant:
    return make_tenant("Blue", owner=root)


@pytest.fixture
def credential(tenant: Tenant, factory: LLMFactory) -> Credential:
    return credentials.create(tenant=tenant, factory=factory, values={"api_key": KEY}, actor=SYSTEM)


def fill(count: int) -> None:
    """`count` tenants, each with a member, a key, a model, a token, a probe, a job and a service."""
    start = Tenant.objects.count()
    for number in range(start, start + count):
        tenant = make_tenant(f"Tenant {number:05}")
        factory = LLMFactory.objects.create(name=f"Factory {number:05}", dialect="openai")
        LLM.objects.create(factory=factory, llm_name=f"model-{number}", model_types=["chat"])
        user = make_user()
        Membership.objects.create(tenant=tenant, user=user, role=Role.OWNER)
        credential = credentials.create(tenant=tenant, factory=factory, values={"api_key": KEY}, actor=SYSTEM)
        model = TenantLLM.objects.create(
            tenant=tenant, credential=credential, factory=factory, llm_name=f"model-{number}", model_types=["chat"]
        )
        routes.create(tenant=tenant, plan=RoutePlan("fast", "chat", [TargetPlan(model.pk)]), actor=SYSTEM)
        make_token(tenant, user=user)
        job = Job.objects.create(type="probe", tenant_id=tenant.pk, created_by=user, state=JobState.COMPLETED)
        Probe.objects.create(
            tenant=tenant, credential=credential, factory=factory, job=job, verdict="ok", step="done", llm_name="x"
        )
        token = ApiToken.objects.get(tenant=tenant)
        limits.create(tenant=tenant, token=token, model=str(model), parallel=2, set_by_staff=True, actor=SYSTEM)
        budgets.create(tenant=tenant, token=token, amount="5", actor=SYSTEM)
        budgets.create(tenant=tenant, factory=factory, amount="5", period="day", actor=SYSTEM)
        service = make_service("http://127.0.0.1:9/", audience=Audience.SOME)
        ServiceTenant.objects.create(service=service, tenant_id=tenant.pk)
        make_model(service, f"model-{number}")
        make_model(service, f"other-{number}", state="not loaded")
        ServiceEvent.objects.create(service=service, before=Health.UNKNOWN, after=Health.UP)
        call = make_call(tenant_id=tenant.pk, token_id=token.pk, tenant_llm_id=model.pk, llm_name=model.llm_name)
        ledger.ingest([call])
    assert ApiToken.objects.count() >= count


@pytest.fixture
def service(db: None) -> LLMService:
    return make_service("http://127.0.0.1:9", name="ollama")


@pytest.fixture
def keyed(service: LLMService) -> LLMService:
    return services.set_key(service_id=service.pk, key=KEY, actor=SYSTEM)
