"""Default models: of the tenant, enabled, of the right type."""

from __future__ import annotations

import pytest

from core.errors import InvalidInput
from providers.models import LLM, LLMFactory
from runtimes.models import LLMService, ServiceModel
from tenants.models import AuditEvent, Credential, Tenant, TenantLLM
from tenants.services.defaults import as_listed, set_default_models
from tests.people import People, actor_of

pytestmark = pytest.mark.django_db


def factory_of(name: str, **fields: object) -> LLMFactory:
    return LLMFactory.objects.get_or_create(name=name, defaults=fields)[0]


def model(tenant: Tenant, factory: str, name: str, *types: str, **fields: object) -> TenantLLM:
    row = factory_of(factory)
    credential, _ = Credential.objects.get_or_create(tenant=tenant, factory=row, label="default")
    return TenantLLM.objects.create(
        tenant=tenant, credential=credential, factory=row, llm_name=name, model_types=list(types), **fields
    )


def choose(people: People, **values: str) -> Tenant:
    return set_default_models(people.tenant, values=values, actor=actor_of(people.owner))


def test_a_model_becomes_the_default_of_its_types_and_can_be_cleared(people: People) -> None:
    model(people.tenant, "Vendor", "omni", "chat", "image2text")
    tenant = choose(people, llm_id="omni@Vendor", img2txt_id="omni@Vendor")
    assert (tenant.llm_id, tenant.img2txt_id) == ("omni@Vendor", "omni@Vendor")
    tenant = choose(people, img2txt_id="")
    assert (tenant.llm_id, tenant.img2txt_id) == ("omni@Vendor", "")
    assert AuditEvent.objects.filter(action="tenant.defaults_changed").count() == 2


@pytest.mark.parametrize(
    "wanted", ["nothing@Vendor", "omni@Other", "omni@vendor", "@Vendor", "omni@", "\x00", "x" * 257]
)
def test_a_model_that_the_tenant_lacks_is_refused(people: People, wanted: str) -> None:
    model(people.tenant, "Vendor", "omni", "chat")
    model(people.elsewhere, "Other", "omni", "chat")
    with pytest.raises(InvalidInput) as refusal:
        choose(people, llm_id=wanted)
    assert list(refusal.value.fields) == ["llm_id"]


def test_a_model_of_another_type_is_refused_and_nothing_is_changed(people: People) -> None:
    model(people.tenant, "Vendor", "omni", "chat")
    with pytest.raises(InvalidInput) as refusal:
        choose(people, llm_id="omni@Vendor", embd_id="omni@Vendor")
    assert list(refusal.value.fields) == ["embd_id"]
    people.tenant.refresh_from_db()
    assert people.tenant.llm_id == ""


def test_a_disabled_model_is_refused_but_a_default_that_became_disabled_may_stay(people: People) -> None:
    row = model(people.tenant, "Vendor", "omni", "chat")
    choose(people, llm_id="omni@Vendor")
    TenantLLM.objects.filter(pk=row.pk).update(status="0")
    assert choose(people, llm_id="omni@Vendor").llm_id == "omni@Vendor"
    choose(people, llm_id="")
    with pytest.raises(InvalidInput):
        choose(people, llm_id="omni@Vendor")


def test_a_bare_name_will_do_when_only_one_model_has_it(people: People) -> None:
    model(people.tenant, "Vendor", "omni", "chat")
    assert choose(people, llm_id="omni").llm_id == "omni@Vendor"
    model(people.tenant, "Rival", "omni", "chat")
    choose(people, llm_id="")
    with pytest.raises(InvalidInput, match="omni@Rival, omni@Vendor"):
        try:
            choose(people, llm_id="omni")
        except InvalidInput as error:
            raise InvalidInput(error.fields["llm_id"][0]) from error


def test_a_name_may_have_an_at_sign_in_it(people: People) -> None:
    model(people.tenant, "LM-Studio", "text-embedding@q8_0", "embedding")
    assert choose(people, embd_id="text-embedding@q8_0").embd_id == "text-embedding@q8_0@LM-Studio"
    assert choose(people, embd_id="text-embedding@q8_0@LM-Studio").embd_id == "text-embedding@q8_0@LM-Studio"


def test_what_a_self_deployed_factory_offers_is_everybodys(people: People) -> None:
    for name, deployed in (("Builtin", True), ("Cloud", False)):
        LLM.objects.create(
            factory=factory_of(name, self_deployed=deployed), llm_name="bge", model_types=["embedding"], max_tokens=512
        )
    assert choose(people, embd_id="bge@Builtin").embd_id == "bge@Builtin"
    with pytest.raises(InvalidInput):
        choose(people, embd_id="bge@Cloud")


def test_a_services_model_may_be_the_default_of_those_who_may_use_it(people: People) -> None:
    service = LLMService.objects.create(name="den", type="mock", is_enabled=True)
    ServiceModel.objects.create(service=service, name="small:1b", model_types=["chat"])
    assert choose(people, llm_id="den~small:1b").llm_id == "den~small:1b"
    for column, wanted in (("embd_id", "den~small:1b"), ("llm_id", "den~large"), ("llm_id", "attic~small:1b")):
        with pytest.raises(InvalidInput):
            choose(people, **{column: wanted})
    service.audience = "none"
    service.save()
    choose(people, llm_id="")
    with pytest.raises(InvalidInput):
        choose(people, llm_id="den~small:1b")


def test_a_services_model_may_be_named_as_a_frontend_lists_it(people: People) -> None:
    for name in ("den", "attic"):
        service = LLMService.objects.create(name=name, type="mock", is_enabled=True)
        ServiceModel.objects.create(service=service, name="small:1b", model_types=["chat"])
        ServiceModel.objects.create(service=service, name=f"{name}-only@q8", model_types=["chat"])
    assert choose(people, llm_id="small:1b@den").llm_id == "den~small:1b"
    assert choose(people, llm_id="den-only@q8@den").llm_id == "den~den-only@q8"
    assert choose(people, llm_id="attic-only@q8").llm_id == "attic~attic-only@q8"
    for wanted, told in (("small:1b", "attic~small:1b, den~small:1b"), ("small:1b@cellar", "not an enabled model")):
        with pytest.raises(InvalidInput) as caught:
            choose(people, llm_id=wanted)
        assert told in caught.value.fields["llm_id"][0]
    factory_of("attic")
    with pytest.raises(InvalidInput):
        choose(people, llm_id="small:1b@attic")


def test_a_tenants_own_model_comes_before_a_services(people: People) -> None:
    service = LLMService.objects.create(name="den", type="mock", is_enabled=True)
    ServiceModel.objects.create(service=service, name="omni", model_types=["chat"])
    assert choose(people, llm_id="omni").llm_id == "den~omni"
    model(people.tenant, "Vendor", "omni", "chat")
    assert choose(people, llm_id="omni").llm_id == "omni@Vendor"


def test_a_default_as_it_is_listed_is_no_change_even_when_its_service_is_gone(people: People) -> None:
    service = LLMService.objects.create(name="den", type="mock", is_enabled=True)
    ServiceModel.objects.create(service=service, name="small:1b", model_types=["chat"])
    choose(people, llm_id="den~small:1b")
    service.delete()
    assert choose(people, llm_id="small:1b@den").llm_id == "den~small:1b"


@pytest.mark.parametrize(
    ("kept", "listed"),
    [
        ("den~small:1b", "small:1b@den"),
        ("den~embed@q8_0", "embed@q8_0@den"),
        ("a~b@Vendor", "a~b@Vendor"),
        ("Vendor~b", "Vendor~b"),
        ("m@Vendor", "m@Vendor"),
        ("fast", "fast"),
        ("", ""),
    ],
)
def test_a_default_is_listed_as_ragflows_clients_know_it(people: People, kept: str, listed: str) -> None:
    factory_of("Vendor")
    assert as_listed(kept) == listed


def test_other_columns_are_refused(people: People) -> None:
    with pytest.raises(InvalidInput):
        choose(people, status="0")
