"""RAGFlow's verbs: for one tenant, by the rules that calls go by, and without a key in anybody's hands."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.errors import InvalidInput
from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from gateway.bundle import LLMBundle, NotAuthorized
from gateway.tenant_llm_service import TenantLLMService
from providers.models import LLM, LLMFactory
from tenants.models import TenantLLM
from tenants.services import credentials, tenant_llms
from tests.fakes.upstream import KEY, FakeUpstream
from tests.gateway.calling import ACTOR, Office
from tests.gateway.python_door import HELLO, python_door, records
from tests.people import make_member, make_tenant, make_user
from usage.models import UsageRecord

Make = Callable[..., LLMBundle]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


def add(office: Office, factory: str, name: str, *types: str) -> TenantLLM:
    made = LLMFactory.objects.filter(name=factory).first() or LLMFactory.objects.create(
        name=factory, base_url="https://api.example.com"
    )
    credential = office.tenant.credentials.filter(factory=made).first() or credentials.create(
        tenant=office.tenant, factory=made, values={"api_key": KEY}, actor=ACTOR
    )
    tenant_llms.add(credential=credential, llm_name=name, model_types=list(types or ["chat"]), actor=ACTOR)
    return TenantLLM.objects.get(credential=credential, llm_name=name)


def test_a_key_names_its_row_and_hides_itself(office: Office, upstream: FakeUpstream) -> None:
    found = TenantLLMService.get_api_key(office.tenant.pk, "fake-chat@Fake")
    assert found is not None
    assert (found.id, found.llm_factory, found.model_type) == (office.model().pk, "Fake", "chat")
    assert (found.api_base, found.credential_id) == (upstream.url, office.credential.pk)
    assert found.api_key == f"…{KEY[-4:]}"
    assert KEY not in repr(found)


def test_every_spelling_that_calls_may_use_finds_the_row(office: Office) -> None:
    row = add(office, "VLLM", "qwen___VLLM")
    for name in ("qwen", "qwen@VLLM", "qwen___VLLM", "qwen___VLLM@VLLM", "VLLM/qwen"):
        found = TenantLLMService.get_api_key(office.tenant.pk, name)
        assert found is not None and found.id == row.pk, name
    for name in ("", "nothing", "fake-chat@fake", "fake-chat@", "a\0b"):
        assert TenantLLMService.get_api_key(office.tenant.pk, name) is None, name


def test_a_name_that_two_models_have_is_not_guessed(office: Office) -> None:
    add(office, "Other", "fake-chat")
    with pytest.raises(LookupError, match="fake-chat@Fake, fake-chat@Other"):
        TenantLLMService.get_api_key(office.tenant.pk, "fake-chat")
    found = TenantLLMService.get_api_key(office.tenant.pk, "fake-chat@Other")
    assert found is not None and found.llm_factory == "Other"


def test_the_credential_that_can_be_used_comes_first(office: Office, upstream: FakeUpstream) -> None:
    second = office.serve(upstream, label="second")
    office.credential.status = "0"
    office.credential.save()
    found = TenantLLMService.get_api_key(office.tenant.pk, "fake-chat")
    assert found is not None and found.credential_id == second.pk


def test_owner_and_member_share_what_an_outsider_does_not_see(office: Office) -> None:
    member, outsider = make_member(office.tenant), make_tenant(owner=make_user())
    assert member.memberships.get().tenant == office.tenant
    assert len(TenantLLMService.get_my_llms(office.tenant.pk)) == 5
    assert TenantLLMService.get_my_llms(outsider.pk) == []
    assert TenantLLMService.get_api_key(outsider.pk, "fake-chat") is None
    assert TenantLLMService.get_openai_models(outsider.pk) == []
    assert TenantLLMService.increase_usage(outsider.pk, "chat", 5, "fake-chat") == 0
    assert TenantLLMService.llm_id2llm_type("fake-chat-of-nobody", outsider.pk) is None
    for tenant_id in (outsider.pk, "0" * 32):
        with pytest.raises(NotAuthorized):
            TenantLLMService.get_model_config(tenant_id, "chat", "fake-chat")
        with pytest.raises(NotAuthorized):
            TenantLLMService.model_instance(tenant_id, "chat", "fake-chat")


def test_my_llms_are_those_whose_key_may_work(office: Office) -> None:
    (chat,) = (item for item in TenantLLMService.get_my_llms(office.tenant.pk) if item["model_type"] == "chat")
    assert (chat["llm_factory"], chat["llm_name"], chat["status"], chat["used_tokens"]) == ("Fake", "fake-chat", "1", 0)
    assert KEY not in json.dumps(TenantLLMService.get_my_llms(office.tenant.pk))
    office.credential.state = "quarantined"
    office.credential.save()
    assert TenantLLMService.get_my_llms(office.tenant.pk) == []


def test_a_config_holds_the_key_closed(office: Office, upstream: FakeUpstream) -> None:
    config = TenantLLMService.get_model_config(office.tenant.pk, "chat", "fake-chat")
    assert (config["llm_factory"], config["llm_name"], config["api_base"]) == ("Fake", "fake-chat", upstream.url)
    assert (config["is_tools"], config["max_tokens"]) == (False, office.model().max_tokens)
    key = config["api_key"]
    assert isinstance(key, OpenSecret)
    assert KEY not in f"{config} {key!r}"
    assert KEY in key.reveal(origin=origin_of(upstream.url))
    with pytest.raises(SecretMisdirected):
        key.reveal(origin="https://elsewhere.example.com:443")
    with pytest.raises(TypeError):
        json.dumps(config)
    with pytest.raises(TypeError):
        pickle.dumps(config)


def test_a_config_without_a_name_is_the_default_s(office: Office) -> None:
    with pytest.raises(LookupError, match="no default"):
        TenantLLMService.get_model_config(office.tenant.pk, "embedding")
    office.tenant.embd_id = "fake-embedding@Fake"
    office.tenant.save()
    assert TenantLLMService.get_model_config(office.tenant.pk, "embedding")["llm_name"] == "fake-embedding"


def test_what_cannot_be_called_has_no_config(office: Office) -> None:
    def config(kind: str, name: str) -> dict[str, Any]:
        return TenantLLMService.get_model_config(office.tenant.pk, kind, name)

    assert config("image2text", "fake-chat")["model_type"] == "image2text"  # a picture is described by a chat
    with pytest.raises(NotAuthorized, match=r"Model\(fake-rerank\) not authorized"):
        config("chat", "fake-rerank")
    with pytest.raises(InvalidInput):
        config("painting", "fake-chat")
    TenantLLM.objects.filter(llm_name="fake-chat").update(status="0")
    with pytest.raises(NotAuthorized):
        config("chat", "fake-chat")
    office.tenant.status = "0"
    office.tenant.save()
    with pytest.raises(NotAuthorized, match="Tenant not found"):
        config("embedding", "fake-embedding")


def test_an_instance_can_be_called(make: Make, office: Office) -> None:
    model = TenantLLMService.model_instance(office.tenant.pk, "chat", "fake-chat", lang="English")
    assert model is not None
    assert model.chat(None, HELLO) == ("Hello!", 10)
    assert model.lang == "English"
    assert TenantLLMService.model_instance(office.tenant.pk, "rerank", "fake-chat") is None
    assert len(records(office)) == 1


def test_usage_from_elsewhere_is_booked_once_and_balances(office: Office) -> None:
    add(office, "VLLM", "qwen___VLLM")
    assert TenantLLMService.increase_usage(office.tenant.pk, "chat", 50, "qwen@VLLM") == 1
    assert TenantLLM.objects.get(llm_name="qwen___VLLM").used_tokens == 50
    record = UsageRecord.objects.get()
    assert (record.tenant_id, record.token_id, record.input_tokens, record.estimated) == (
        office.tenant.pk,
        None,
        50,
        True,
    )
    assert TenantLLMService.increase_usage(office.tenant.pk, "chat", 5, "nothing") == 0
    assert TenantLLMService.increase_usage(office.tenant.pk, "chat", 5) == 0  # there is no default
    assert TenantLLMService.increase_usage(office.tenant.pk, "chat", 0, "fake-chat") == 0
    for wrong in (-1, 1.5, True, "5", 10**12):
        with pytest.raises(InvalidInput):
            TenantLLMService.increase_usage(office.tenant.pk, "chat", wrong, "fake-chat")  # type: ignore[arg-type]
    assert UsageRecord.objects.count() == 1


def test_models_of_openai_are_the_tenant_s_and_do_not_embed(office: Office) -> None:
    add(office, "OpenAI", "gpt-test")
    add(office, "OpenAI", "text-embedding-test", "embedding")
    found = TenantLLMService.get_openai_models(office.tenant.pk)
    assert [(item["llm_name"], item["model_type"]) for item in found] == [("gpt-test", "chat")]


def test_a_type_is_told_where_names_agree(office: Office) -> None:
    assert TenantLLMService.llm_id2llm_type("fake-rerank") == "rerank"
    assert TenantLLMService.llm_id2llm_type("fake-rerank@Fake") == "rerank"
    assert TenantLLMService.llm_id2llm_type("nothing") is None
    other = LLMFactory.objects.create(name="Other")
    LLM.objects.create(factory=other, llm_name="fake-rerank", model_types=["embedding"])
    assert TenantLLMService.llm_id2llm_type("fake-rerank") is None
    assert TenantLLMService.llm_id2llm_type("fake-rerank@Other") == "embedding"
    assert TenantLLMService.llm_id2llm_type("fake-rerank", office.tenant.pk) == "rerank"


def test_names_are_split_by_the_catalogue(office: Office) -> None:
    split = TenantLLMService.split_model_name_and_factory
    assert split("gpt-4") == ("gpt-4", None)
    assert split("gpt-4@Fake") == ("gpt-4", "Fake")
    assert split("gpt-4@fake") == ("gpt-4@fake", None)
    assert split("a@b@Unknown") == ("a@b", "Unknown")
