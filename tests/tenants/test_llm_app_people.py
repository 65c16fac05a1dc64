"""Owners and admins write, members look, strangers see nothing of it; tokens can do no more than their scopes."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from jobs.models import Job
from tenants.models import Credential, Tenant, TenantLLM
from tenants.services import credentials
from tests.people import People, actor_of, make_token, make_user
from tests.tenants.llm_app_door import CLASSIC, READS, RETCODE, WRITES, Door, door, vendor

pytestmark = pytest.mark.django_db
INFO = "/v1/user/tenant_info"
SET_INFO = "/v1/user/set_tenant_info"


@pytest.fixture
def model(people: People) -> TenantLLM:
    """A model “m” of the tenant."""
    factory = vendor(models={"m": "chat"}, base_url="https://fake.example")
    actor = actor_of(people.owner)
    credential = credentials.create(tenant=people.tenant, factory=factory, values={"api_key": "k"}, actor=actor)
    row = {"tenant": people.tenant, "credential": credential, "factory": factory}
    return TenantLLM.objects.create(**row, llm_name="m", model_types=["chat"])


def everything() -> list[object]:
    kinds = (Credential, TenantLLM, Tenant, Job)
    return [list(kind.objects.order_by("pk").values()) for kind in kinds]


def session(user: User) -> Door:
    here = Door()
    here.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return here


def info(tenant: Tenant) -> dict[str, str]:
    return {"tenant_id": tenant.pk, "name": "New", "asr_id": "", "embd_id": "", "img2txt_id": "", "llm_id": ""}


@pytest.mark.parametrize("path", sorted(WRITES))
@pytest.mark.parametrize("mount", [CLASSIC, RETCODE])
def test_member_may_not_write(people: People, model: TenantLLM, path: str, mount: str) -> None:
    before = everything()
    for here in (door(people, people.member), session(people.member)):
        answer = here.through(mount).post(path, WRITES[path])
        assert answer.get("code", answer.get("retcode")) == 108
        assert answer["data"] is None
    assert everything() == before


@pytest.mark.parametrize("path", sorted(WRITES))
def test_owner_and_admin_may_write(people: People, model: TenantLLM, path: str) -> None:
    for user in (people.owner, people.admin):
        body = {**WRITES[path], "test": False}
        assert door(people, user).post(path, body)["data"] is True
        assert session(user).post(path, body)["data"] is True


@pytest.mark.parametrize("path", sorted(WRITES))
def test_outsider_changes_only_what_is_the_outsiders(people: People, model: TenantLLM, path: str) -> None:
    stranger = Door(make_token(people.elsewhere, user=people.outsider))
    answer = stranger.post(path, {**WRITES[path], "test": False})
    assert answer["code"] == 0
    assert Credential.objects.filter(tenant=people.tenant).count() == 1
    assert TenantLLM.objects.filter(tenant=people.tenant).values().get() == {
        **TenantLLM.objects.filter(pk=model.pk).values().get(),
        "status": "1",
    }


@pytest.mark.parametrize("path", [path for path in READS if path != "factories"])
def test_everybody_of_the_tenant_reads_and_nobody_else(people: People, model: TenantLLM, path: str) -> None:
    for user in (people.owner, people.admin, people.member):
        assert "Fake" in door(people, user).get(path)["data"]
        assert "Fake" in session(user).get(path)["data"]
    assert Door(make_token(people.elsewhere, user=people.outsider)).get(path)["data"] == {}
    assert session(people.outsider).get(path)["data"] == {}


@pytest.mark.parametrize("path", sorted(WRITES))
def test_token_that_only_reads_may_not_write(people: People, model: TenantLLM, path: str) -> None:
    here = door(people, scopes=["read"])
    assert here.post(path, WRITES[path])["code"] == 108
    assert here.post(SET_INFO, info(people.tenant))["code"] == 108
    assert here.get("my_llms")["code"] == 0


@pytest.mark.parametrize("path", [*READS, INFO])
def test_token_that_only_invokes_may_not_read(people: People, path: str) -> None:
    assert door(people, scopes=["invoke"]).get(path)["code"] == 108


def test_right_is_checked_before_the_body(people: People) -> None:
    assert door(people, people.member).post("add_llm", raw=b"{")["code"] == 108


def test_user_without_a_tenant_has_none_to_show(people: People) -> None:
    here = session(make_user())
    assert here.get(INFO) == {"code": 102, "message": "Tenant not found!"}
    assert here.get("my_llms") == {"code": 102, "message": "Tenant not found!"}
    assert here.post("delete_llm", WRITES["delete_llm"])["code"] == 108
    assert here.get("factories")["code"] == 0


def test_foreign_tenant_of_a_header_is_none(people: People, model: TenantLLM) -> None:
    headers = {"X-Tenant-Id": people.tenant.pk}
    assert session(people.outsider).get("my_llms", **headers)["code"] == 102
    assert Door(make_token(people.elsewhere, user=people.outsider)).get("my_llms", **headers)["code"] == 102


def test_tenant_info_has_the_role_and_the_defaults(people: People, model: TenantLLM) -> None:
    for user, role in ((people.owner, "owner"), (people.admin, "admin"), (people.member, "member")):
        data = door(people, user).get(INFO)["data"]
        assert (data["tenant_id"], data["name"], data["role"]) == (people.tenant.pk, people.tenant.name, role)
        columns = {"llm_id", "embd_id", "rerank_id", "asr_id", "img2txt_id", "tts_id", "ocr_id", "parser_ids"}
        assert set(data) == columns | {"tenant_id", "name", "role"}
    assert (
        Door(make_token(people.elsewhere, user=people.outsider)).get(INFO)["data"]["tenant_id"] == people.elsewhere.pk
    )


def test_owner_sets_name_and_defaults(people: People, model: TenantLLM) -> None:
    here = door(people)
    body = {**info(people.tenant), "llm_id": "m@Fake", "role": "owner", "credit": 9, "tts_id": None}
    assert here.post(SET_INFO, body)["data"] is True
    tenant = Tenant.objects.get(pk=people.tenant.pk)
    assert (tenant.name, tenant.llm_id, tenant.embd_id) == ("New", "m@Fake", "")
    assert here.post(SET_INFO, {**info(people.tenant), "llm_id": ""})["data"] is True
    assert Tenant.objects.get(pk=people.tenant.pk).llm_id == ""


@pytest.mark.parametrize(
    "change",
    [
        {"llm_id": "no@Fake"},
        {"embd_id": "m@Fake"},
        {"llm_id": 5},
        {"llm_id": ["m@Fake"]},
        {"llm_id": "x" * 300},
        {"llm_id": "m\x00@Fake"},
        {"name": ""},
        {"name": 5},
        {"name": "n" * 101},
        {"tenant_id": "0" * 32},
        {"tenant_id": None},
        {"tenant_id": 5},
        {"tenant_id": ""},
    ],
)
def test_wrong_tenant_info_changes_nothing(people: People, model: TenantLLM, change: dict[str, object]) -> None:
    before = everything()
    answer = door(people).post(SET_INFO, {**info(people.tenant), **change})
    assert answer["code"] == 102 and answer["message"]
    assert everything() == before


def test_nobody_sets_the_defaults_of_another_tenant(people: People, model: TenantLLM) -> None:
    before = everything()
    stranger = Door(make_token(people.elsewhere, user=people.outsider))
    assert stranger.post(SET_INFO, info(people.tenant)) == {"code": 102, "message": "Tenant not found!"}
    assert door(people, people.member).post(SET_INFO, info(people.tenant))["code"] == 108
    assert everything() == before
