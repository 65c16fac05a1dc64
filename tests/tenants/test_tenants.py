"""Tenants: made with an owner, deleted with everything."""

from __future__ import annotations

import pytest

from core.audit import SYSTEM
from core.errors import InvalidInput
from jobs.models import Job
from providers.models import LLMFactory
from tenants.models import ApiToken, AuditEvent, Credential, Membership, Tenant, TenantLLM
from tenants.services import tenants
from tests.people import People, actor_of, make_token, make_user

pytestmark = pytest.mark.django_db


def test_a_new_tenant_belongs_to_its_owner() -> None:
    user = make_user()
    tenant = tenants.create(name=" Acme ", owner=user, email="it@acme.example", actor=actor_of(user))
    assert tenant.name == "Acme"
    assert Membership.objects.get(tenant=tenant).role == "owner"
    event = AuditEvent.objects.get(action="tenant.created")
    assert (event.tenant_id, event.user) == (tenant.pk, user)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "x" * 101}, {"name": "a\nb"}, {"email": "nobody"}, {"status": "2"}]
)
def test_a_tenant_is_described_correctly(people: People, wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        tenants.update(people.tenant, actor=SYSTEM, **wrong)


def test_an_update_changes_what_is_given_and_records_what_it_was(people: People) -> None:
    before = people.tenant.name
    tenants.update(people.tenant, actor=actor_of(people.owner), name="New", email="")
    event = AuditEvent.objects.get(action="tenant.updated")
    assert event.detail["changes"] == {"name": {"from": before, "to": "New"}}
    tenants.update(people.tenant, actor=actor_of(people.owner), name="New")
    assert AuditEvent.objects.filter(action="tenant.updated").count() == 1


def test_a_deleted_tenant_leaves_nothing_but_the_audit_log(people: People) -> None:
    tenant = people.tenant
    factory = LLMFactory.objects.create(name="Vendor")
    credential = Credential.objects.create(tenant=tenant, factory=factory)
    TenantLLM.objects.create(tenant=tenant, credential=credential, factory=factory, llm_name="m", model_types=["chat"])
    make_token(tenant, user=people.owner)
    Job.objects.create(type="probe", tenant_id=tenant.pk)
    tenants.delete(tenant, actor=actor_of(people.owner))
    for model in (Credential, TenantLLM, ApiToken, Membership):
        assert not model.objects.filter(tenant_id=tenant.pk).exists()
    assert not Job.objects.for_tenant(tenant.pk).exists()
    assert not Tenant.objects.filter(pk=tenant.pk).exists()
    event = AuditEvent.objects.get(action="tenant.deleted")
    assert event.detail["removed"]["Credential"] == 1
    assert Tenant.objects.filter(pk=people.elsewhere.pk).exists()
