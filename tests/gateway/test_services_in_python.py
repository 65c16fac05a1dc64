"""Models of services called from Python, and what RAGFlow's verbs say of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret, seal
from gateway.bundle import LLMBundle, NotAuthorized
from gateway.tenant_llm_service import TenantLLMService
from runtimes.models import LLMService, ModelState, ServiceModel
from tests.fakes.upstream import KEY, FakeUpstream
from tests.gateway.calling import Office
from tests.gateway.python_door import HELLO, python_door, records
from tests.gateway.serving import add_model, keep_to, make_service
from tests.people import make_tenant, make_user

Make = Callable[..., LLMBundle]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


@pytest.fixture
def service(office: Office, upstream: FakeUpstream) -> LLMService:
    made = make_service(upstream)
    made.secret = seal(KEY, owner=made.owner, origin=origin_of(upstream.root))
    made.save()
    return made


def test_a_bundle_chats_and_embeds_with_a_services_model(make: Make, office: Office, service: LLMService) -> None:
    assert make("chat", "den~fake-chat").chat("Be brief.", HELLO) == ("Hello!", 10)
    assert make("chat", "fake-chat@den").chat("Be brief.", HELLO) == ("Hello!", 10)
    assert list(make("chat", "den~fake-chat").chat_streamly(None, HELLO))[-1] == 10
    assert make("embedding", "den~fake-embedding").encode(["a", "bb"])[0].shape == (2, 4)
    found = [(record.factory, record.llm_name, record.tenant_llm_id) for record in records(office)]
    assert found == [("den", "fake-chat", None)] * 3 + [("den", "fake-embedding", None)]


def test_a_bundle_loads_what_is_not_loaded(make: Make, office: Office, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    mock = LLMService.objects.create(name="mock", type="mock", is_enabled=True, options={"load_step_delay_s": 0})
    row = add_model(mock, "mock-model-30B", state=ModelState.NOT_LOADED)
    said, tokens = make("chat", "mock~mock-model-30B").chat(None, HELLO)
    assert said
    assert tokens > 0
    row.refresh_from_db()
    assert row.state == ModelState.LOADED


def test_a_bundle_of_a_stranger_finds_nothing(make: Make, office: Office, service: LLMService) -> None:
    keep_to(service, office)
    assert make("chat", "den~fake-chat").chat(None, HELLO)[0] == "Hello!"
    stranger = make_tenant(owner=make_user())
    with pytest.raises(NotAuthorized):
        LLMBundle(stranger.pk, "chat", "den~fake-chat").chat(None, HELLO)
    assert TenantLLMService.llm_id2llm_type("den~fake-chat", stranger.pk) is None
    with pytest.raises(LookupError):
        TenantLLMService.get_model_config(stranger.pk, "chat", "den~fake-chat")


def test_the_verbs_know_a_services_models(office: Office, upstream: FakeUpstream, service: LLMService) -> None:
    tenant = office.tenant.pk
    found = TenantLLMService.get_model_config(tenant, "chat", "den~fake-chat")
    assert (found["llm_factory"], found["llm_name"], found["api_base"]) == ("den", "fake-chat", upstream.root)
    assert isinstance(found["api_key"], OpenSecret)
    assert found["api_key"].reveal(origin=origin_of(upstream.root)) == KEY
    with pytest.raises(NotAuthorized):
        TenantLLMService.get_model_config(tenant, "embedding", "den~fake-chat")
    assert TenantLLMService.llm_id2llm_type("den~fake-embedding", tenant) == "embedding"
    assert TenantLLMService.llm_id2llm_type("fake-embedding@den", tenant) == "embedding"
    assert TenantLLMService.get_model_config(tenant, "chat", "fake-chat@den")["api_base"] == upstream.root
    assert TenantLLMService.get_api_key(tenant, "den~fake-chat") is None
    own = TenantLLMService.get_api_key(tenant, "fake-chat")
    assert own is not None and own.llm_factory == "Fake"
    assert TenantLLMService.get_model_config(tenant, "chat", "fake-chat")["llm_factory"] == "Fake"
    assert TenantLLMService.split_model_name_and_factory("den~fake-chat") == ("den~fake-chat", None)


def test_usage_of_a_services_model_is_booked(office: Office, service: LLMService) -> None:
    assert TenantLLMService.increase_usage(office.tenant.pk, "chat", 7, "den~fake-chat") == 1
    (record,) = records(office)
    assert (record.factory, record.llm_name, record.tenant_llm_id, record.input_tokens) == ("den", "fake-chat", None, 7)
    assert ServiceModel.objects.count() == 3
