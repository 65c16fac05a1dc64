"""Which models a tenant may use."""

from __future__ import annotations

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from tenants.models import AuditEvent, Credential, CredentialState, TenantLLM
from tenants.services import credentials, tenant_llms
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, offer, save_credential, serve

HERE = {"base_url": "https://here.example/v1"}


@pytest.fixture
def credential(people: People) -> Credential:
    return save_credential(people.tenant, make_factory(), None, **HERE)


def test_model_knows_its_catalogue_row_by_the_bare_name(credential: Credential) -> None:
    (row,) = offer(credential.factory, qwen="chat")
    added = tenant_llms.add(credential=credential, llm_name="qwen___VLLM", model_types=["chat"], actor=ACTOR)
    assert added.llm == row


def test_model_is_served_once_by_a_credential(credential: Credential) -> None:
    serve(credential, one="chat")
    with pytest.raises(Conflict):
        serve(credential, one="embedding")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "8192", float("nan"), 10**12])
def test_nonsense_limits_are_refused(credential: Credential, limit: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        tenant_llms.add(
            credential=credential,
            llm_name="m",
            model_types=["chat"],
            max_tokens=limit,
            actor=ACTOR,  # type: ignore[arg-type]
        )
    assert "max_tokens" in caught.value.fields
    assert not TenantLLM.objects.exists()


def test_update_changes_only_what_is_given(credential: Credential) -> None:
    serve(credential, one="chat,image2text")
    row = tenant_llms.update(TenantLLM.objects.get(), actor=ACTOR, max_tokens=100)
    assert (row.max_tokens, row.model_types, row.is_tools, row.status) == (100, ["chat", "image2text"], None, "1")


def test_only_enabled_models_behind_enabled_credentials_and_factories_are_usable(credential: Credential) -> None:
    serve(credential, one="chat")
    usable = TenantLLM.objects.usable
    assert usable().count() == 1
    tenant_llms.set_status(TenantLLM.objects.all(), status="0", actor=ACTOR)
    assert usable().count() == 0
    tenant_llms.set_status(TenantLLM.objects.all(), status="1", actor=ACTOR)
    Credential.objects.update(state=CredentialState.QUARANTINED)
    assert usable().count() == 0
    Credential.objects.update(state=CredentialState.FAILING, status="0")
    assert usable().count() == 0
    Credential.objects.update(status="1")
    credential.factory.status = "0"
    credential.factory.save()
    assert usable().count() == 0


def test_each_change_is_audited(people: People, credential: Credential) -> None:
    serve(credential, one="chat")
    tenant_llms.set_status(TenantLLM.objects.all(), status="0", actor=ACTOR)
    assert tenant_llms.delete(TenantLLM.objects.all(), actor=ACTOR) == 1
    actions = AuditEvent.objects.filter(tenant_id=people.tenant.pk).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["credential.created", "model.added", "model.disabled", "model.deleted"]


def test_model_is_not_added_to_a_credential_that_was_deleted_meanwhile(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, base_url="https://here.example/v1")
    stale = Credential.objects.get(pk=credential.pk)
    credentials.delete(credential, actor=ACTOR)
    with pytest.raises(NotFound):
        serve(stale, fake_chat="chat")


def test_model_that_staff_disable_answers_nobody_and_is_added_by_nobody(credential: Credential) -> None:
    (row,) = offer(credential.factory, old="chat")
    serve(credential, old="chat")
    row.status = "0"
    row.save()
    assert not TenantLLM.objects.usable().exists()
    assert not TenantLLM.objects.select_related("llm").get().is_usable
    TenantLLM.objects.all().delete()
    with pytest.raises(InvalidInput, match="disabled in the catalogue"):
        tenant_llms.add(credential=credential, llm_name="old___VLLM", model_types=["chat"], actor=ACTOR)
