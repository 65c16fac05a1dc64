"""What the lists show, and that they stay as cheap as they are."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from providers.models import LLM, LLMFactory
from runtimes.models import Audience, ServiceTenant
from tenants.models import Credential, CredentialState, Tenant, TenantLLM
from tenants.services import credentials
from tests.people import People, actor_of, make_token
from tests.runtimes.making import make_model, make_service
from tests.tenants.llm_app_door import READS, Door, door, vendor

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(people: People) -> Door:
    return door(people)


def own(
    tenant: Tenant, factory: LLMFactory, name: str, *kinds: str, label: str = "default", **values: Any
) -> TenantLLM:
    """A model of the tenant through the credential of that label."""
    present = Credential.objects.filter(tenant=tenant, factory=factory, label=label).first()
    actor = actor_of(tenant.memberships.get(role="owner").user)
    credential = present or credentials.create(
        tenant=tenant, factory=factory, values={"api_key": "sk-0123456789"}, label=label, actor=actor
    )
    llm = LLM.objects.filter(factory=factory, llm_name=name).first()
    row = {"tenant": tenant, "credential": credential, "factory": factory, "llm": llm, "llm_name": name}
    return TenantLLM.objects.create(**row, model_types=list(kinds) or ["chat"], **values)


def names(answer: Any) -> dict[str, list[tuple[str, str]]]:
    return {fid: [(item["llm_name"], item["model_type"]) for item in items] for fid, items in answer["data"].items()}


def test_factories_come_by_rank_with_the_types_of_their_catalogue(owner: Door) -> None:
    vendor("Low", {"a": "tts,chat", "b": "embedding"}, rank=1)
    vendor("High", rank=9, tags="LLM,TTS", logo="data:,")
    vendor("Hidden", hidden=True)
    vendor("Off", status="0")
    LLM.objects.create(factory=LLMFactory.objects.get(name="Low"), llm_name="off", model_types=["ocr"], status="0")
    data = owner.get("factories")["data"]
    assert [item["name"] for item in data] == ["High", "Low"]
    assert data[1]["model_types"] == ["chat", "embedding", "tts"]
    assert data[0]["model_types"] == ["chat", "embedding", "image2text", "ocr", "rerank", "speech2text", "tts"]
    assert (data[0]["rank"], data[0]["tags"], data[0]["logo"], data[0]["status"]) == (9, "LLM,TTS", "data:,", "1")
    columns = {"name", "logo", "tags", "rank", "status", "model_types"}
    assert set(data[0]) == columns | {"create_time", "create_date", "update_time", "update_date"}


def test_allowed_factories_are_those_of_the_setting(owner: Door, settings: Any) -> None:
    vendor("A")
    vendor("B")
    settings.ALLOWED_FACTORIES = ["B", "Unknown"]
    assert [item["name"] for item in owner.get("factories")["data"]] == ["B"]


def test_my_llms_is_compact_unless_details_are_asked_for(owner: Door, people: People) -> None:
    factory = vendor(models={"m": "chat"}, tags="LLM")
    row = own(people.tenant, factory, "m", used_tokens=7, status="0")
    LLM.objects.update(is_tools=True)
    item = {"id": row.pk, "type": "chat", "name": "m", "used_token": 7, "status": "0"}
    for path in ("my_llms", "my_llms?include_details=false", "my_llms?include_details=1", "my_llms?include_details="):
        assert owner.get(path)["data"] == {"Fake": {"tags": "LLM", "llm": [item]}}
    details = {"api_base": "", "max_tokens": 8192, "is_tools": True, "instance": "default", "verdict": "untested"}
    for path in ("my_llms?include_details=true", "my_llms?include_details=TRUE"):
        assert owner.get(path)["data"]["Fake"]["llm"] == [{**item, **details}]


def test_my_llms_shows_a_model_once_for_each_type_and_no_draft(owner: Door, people: People) -> None:
    factory = vendor()
    row = own(people.tenant, factory, "m", "chat", "image2text")
    drafted = own(people.tenant, factory, "d", label="draft")
    Credential.objects.filter(pk=drafted.credential_id).update(state=CredentialState.DRAFT)
    items = owner.get("my_llms")["data"]["Fake"]["llm"]
    assert [(item["id"], item["type"]) for item in items] == [(row.pk, "chat"), (row.pk, "image2text")]
    assert names(owner.get("list")) == {"Fake": [("m", "chat"), ("m", "image2text")]}


def test_no_list_shows_any_part_of_a_key(owner: Door, people: People) -> None:
    own(people.tenant, vendor(), "m")
    for path in READS:
        owner.get(path)
        text = owner.last.content.decode()
        assert "sk-0123" not in text and "gAAAA" not in text and "6789" not in text


def test_list_has_catalogue_models_with_their_columns_then_the_tenants_own(owner: Door, people: People) -> None:
    factory = vendor(models={"z": "chat", "a": "embedding", "other": "chat"})
    rows = {name: own(people.tenant, factory, name, kind) for name, kind in [("mine", "tts"), ("z", "chat")]}
    own(people.tenant, factory, "a", "embedding")
    data = owner.get("list")["data"]["Fake"]
    assert [item["llm_name"] for item in data] == ["a", "z", "mine"]
    columns = {"llm_name", "model_type", "fid", "max_tokens", "tags", "is_tools", "status", "available", "id"}
    assert set(data[1]) == columns | {"create_time", "create_date", "update_time", "update_date"}
    assert (data[1]["available"], data[1]["id"], data[1]["max_tokens"]) == (True, rows["z"].pk, 8192)
    assert data[2] == {
        "llm_name": "mine",
        "model_type": "tts",
        "fid": "Fake",
        "available": True,
        "status": "1",
        "id": rows["mine"].pk,
    }


def test_list_leaves_out_what_is_disabled(owner: Door, people: People) -> None:
    factory = vendor(models={"in-catalogue": "chat", "off-in-catalogue": "chat"})
    LLM.objects.filter(llm_name="off-in-catalogue").update(status="0")
    own(people.tenant, factory, "in-catalogue", status="0")
    own(people.tenant, factory, "own", status="0")
    assert owner.get("list")["data"] == {}
    own(people.tenant, factory, "off-in-catalogue")
    assert names(owner.get("list")) == {"Fake": [("off-in-catalogue", "chat")]}


def test_list_says_what_cannot_be_called(owner: Door, people: People) -> None:
    factory = vendor(models={"m": "chat"})
    own(people.tenant, factory, "m")
    own(people.tenant, factory, "mine")
    Credential.objects.update(state=CredentialState.QUARANTINED)
    assert [item["available"] for item in owner.get("list")["data"]["Fake"]] == [False, False]
    own(people.tenant, factory, "m", label="second")
    assert [item["available"] for item in owner.get("list")["data"]["Fake"]] == [True, False]


def test_built_in_models_are_listed_for_everybody(owner: Door) -> None:
    vendor("Builtin", {"BAAI/bge-m3": "embedding", "Flag-Embedding": "embedding"}, hidden=True, keyless=True)
    vendor("siliconflow_intl", {"m": "chat"}, hidden=True)
    data = owner.get("list")["data"]
    assert {item["llm_name"]: (item["available"], item["id"]) for item in data["Builtin"]} == {
        "BAAI/bge-m3": (False, None),
        "Flag-Embedding": (True, None),
    }
    assert set(data) == {"Builtin"}


def test_list_ends_with_the_models_of_services_that_the_tenant_may_use(owner: Door, people: People) -> None:
    own(people.tenant, vendor(), "mine")
    den = make_service("http://127.0.0.1:9", name="den")
    make_model(den, "see:8b", model_types=["chat", "image2text"], max_tokens=4096, tooling=True)
    make_model(den, "gone", state="removed")
    data = owner.get("list")["data"]
    assert list(data) == ["Fake", "den"]
    assert data["den"][0] == {
        "llm_name": "see:8b",
        "model_type": "chat",
        "fid": "den",
        "max_tokens": 4096,
        "is_tools": True,
        "available": True,
        "status": "1",
        "id": None,
    }
    assert names(owner.get("list?model_type=image")) == {"den": [("see:8b", "image2text")]}
    assert "den" not in owner.get("my_llms")["data"]
    stranger = Door(make_token(people.elsewhere, user=people.outsider))
    assert set(stranger.get("list")["data"]) == {"den"}
    den.audience = Audience.SOME
    den.save()
    ServiceTenant.objects.create(service=den, tenant_id=people.tenant.pk)
    member = door(people, people.member)
    assert [set(one.get("list")["data"]) for one in (member, stranger)] == [{"Fake", "den"}, set()]


def test_list_leaves_out_services_that_a_factory_is_called_like(owner: Door) -> None:
    make_model(make_service("http://127.0.0.1:9", name="n1n"), "small")
    assert names(owner.get("list")) == {"n1n": [("small", "chat")]}
    vendor("n1n")
    assert owner.get("list")["data"] == {}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("chat", {"chat"}),
        ("text", {"image2text", "speech2text"}),
        ("", {"chat", "image2text", "speech2text"}),
        ("nothing", set()),
        ("%00", set()),
    ],
)
def test_type_filter_is_a_part_of_the_types_name(owner: Door, people: People, wanted: str, found: set[str]) -> None:
    own(people.tenant, vendor(models={"m": "chat,image2text"}), "m", "chat", "image2text")
    own(people.tenant, vendor("Other"), "s", "speech2text")
    data = owner.get(f"list?model_type={wanted}")["data"]
    assert {item["model_type"] for items in data.values() for item in items} == found
    assert all(data.values())


def test_tenants_types_win_over_the_catalogues(owner: Door, people: People) -> None:
    own(people.tenant, vendor(models={"m": "chat,image2text"}), "m", "image2text", "ocr")
    assert names(owner.get("list")) == {"Fake": [("m", "image2text"), ("m", "ocr")]}


def test_same_model_through_two_credentials_is_one_choice(owner: Door, people: People) -> None:
    factory = vendor(models={"m": "chat"})
    first = own(people.tenant, factory, "m")
    own(people.tenant, factory, "m", label="second")
    assert [item["id"] for item in owner.get("list")["data"]["Fake"]] == [first.pk]
    assert len(owner.get("my_llms")["data"]["Fake"]["llm"]) == 2


@pytest.mark.parametrize("path", READS)
def test_number_of_queries_does_not_grow(owner: Door, people: People, path: str) -> None:
    def grow(count: int) -> None:
        for number in range(count):
            factory = vendor(f"F{LLMFactory.objects.count()}", {f"m{number}": "chat,image2text"})
            own(people.tenant, factory, f"m{number}")
            own(people.tenant, factory, "own", "tts")
            make_model(make_service("http://127.0.0.1:9"), "small")

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            owner.get(path)
        return [query["sql"] for query in captured]

    grow(2)
    owner.get(path)  # the first call notes that the token was used
    few = queries()
    grow(20)
    many = queries()
    assert len(many) == len(few) <= 6
    assert not [sql for sql in many if '"secret"' in sql]
