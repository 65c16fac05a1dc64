"""A tenant's Langfuse project: tried, sealed, told to nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core import serializers
from django.db import connection
from django.test import Client

from core.secrets import SecretMisdirected
from tenants.models import AuditEvent, LangfuseProject, Role, Tenant
from tests.api.world import bearer
from tests.fakes.langfuse import PROJECTS, PUBLIC_KEY, SECRET_KEY, FakeLangfuse
from tests.people import People, make_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("loopback_allowed")]
DOORS = ("/v1/langfuse/api_key", "/api/v1/langfuse/api-key", "/v1/langfuse/api-key/")
REST = "/api/langfuse/"


def client_of(people: People, role: Role | None = Role.OWNER, **how: Any) -> Client:
    if role is None:
        return bearer(make_token(people.elsewhere, user=people.outsider, **how))
    user = people.owner if role == Role.OWNER else people.member
    return bearer(make_token(people.tenant, user=user, **how))


def keys(server: FakeLangfuse, **changes: Any) -> dict[str, Any]:
    return {"host": server.url, "public_key": PUBLIC_KEY, "secret_key": SECRET_KEY, **changes}


def send(client: Client, method: str, path: str, body: Any = None) -> Any:
    return getattr(client, method)(path, body, content_type="application/json")


def stored(tenant: Tenant) -> LangfuseProject | None:
    return LangfuseProject.objects.filter(tenant=tenant).first()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("method", ["put", "post"])
def test_the_classic_door_saves_shows_and_forgets(
    people: People, langfuse_server: FakeLangfuse, door: str, method: str
) -> None:
    client = client_of(people)
    assert client.get(door).json() == {"code": 0, "message": "Have not record any Langfuse keys.", "data": None}
    shown = {
        "tenant_id": people.tenant.pk, "host": langfuse_server.url, "project_id": "project-1",
        "project_name": "Search", "content": False,
    }  # fmt: skip
    saved = send(client, method, door, keys(langfuse_server))
    assert saved.json() == {"code": 0, "message": "success", "data": shown}
    assert client.get(door).json()["data"] == shown
    assert client.delete(door).json() == {"code": 0, "message": "success", "data": True}
    assert client.delete(door).json()["message"] == "Have not record any Langfuse keys."
    assert stored(people.tenant) is None


def test_rest_saves_shows_changes_and_forgets(people: People, langfuse_server: FakeLangfuse) -> None:
    client = client_of(people)
    assert client.get(REST).status_code == 404
    saved = send(client, "put", REST, keys(langfuse_server, content=True))
    assert (saved.status_code, saved.json()["content"], saved.json()["project_name"]) == (200, True, "Search")
    assert send(client, "put", REST, keys(langfuse_server)).json()["content"] is True  # as it was
    assert send(client, "patch", REST, {"content": False}).json()["content"] is False
    assert client.delete(REST).status_code == 204
    assert client.get(REST).status_code == 404
    actions = AuditEvent.objects.filter(tenant_id=people.tenant.pk).values_list("action", flat=True)
    assert [name for name in actions if name.startswith("langfuse")].count("langfuse.saved") == 2
    assert {"langfuse.updated", "langfuse.deleted"} <= set(actions)


@pytest.mark.parametrize(
    "body",
    [{"secret_key": ""}, {"public_key": None}, {"host": "  "}, {"host": 7}],
)
def test_what_is_missing_is_said_as_ever(people: People, langfuse_server: FakeLangfuse, body: Any) -> None:
    answer = send(client_of(people), "put", DOORS[0], keys(langfuse_server, **body))
    assert answer.json() == {"code": 102, "message": "Missing required fields"}


def test_keys_that_langfuse_refuses_change_nothing(people: People, langfuse_server: FakeLangfuse) -> None:
    client = client_of(people)
    send(client, "put", REST, keys(langfuse_server))
    before = stored(people.tenant)
    wrong = keys(langfuse_server, secret_key="sk-lf-wrong-4Hd82")
    classic = send(client, "put", DOORS[0], wrong).json()
    assert classic["code"] == 102 and classic["message"].startswith("Invalid Langfuse keys")
    rest = send(client, "put", REST, wrong)
    assert (rest.status_code, rest.json()["code"]) == (400, "langfuse_keys_refused")
    langfuse_server.html(PROJECTS)
    assert send(client, "put", REST, keys(langfuse_server)).status_code == 400
    langfuse_server.hang_up(PROJECTS)
    assert send(client, "put", REST, keys(langfuse_server)).status_code == 400
    after = stored(people.tenant)
    assert before is not None and after is not None and before.secret == after.secret


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "ftp://langfuse.example"}, {"host": "https://a:b@langfuse.example"}, {"host": "https://x.example/?a=b"},
        {"public_key": "pk:lf"}, {"secret_key": "a b"}, {"secret_key": "é"}, {"secret_key": "x" * 300},
        {"host": "https://" + "x" * 300 + ".example"}, {"content": "perhaps"},
    ],
)  # fmt: skip
def test_malformed_keys_are_refused_before_anything_is_sent(
    people: People, langfuse_server: FakeLangfuse, changes: Any
) -> None:
    assert send(client_of(people), "put", REST, keys(langfuse_server, **changes)).status_code == 400
    assert send(client_of(people), "put", DOORS[0], keys(langfuse_server, **changes)).json()["code"] == 102
    assert langfuse_server.total_calls == 0 and stored(people.tenant) is None


def test_no_address_inside_is_called(people: People, langfuse_server: FakeLangfuse, settings: Any) -> None:
    settings.ALLOWED_NETWORKS = []
    assert send(client_of(people), "put", REST, keys(langfuse_server)).status_code == 400
    assert langfuse_server.total_calls == 0


def test_keys_are_kept_only_sealed_and_for_their_host(people: People, langfuse_server: FakeLangfuse) -> None:
    langfuse_server.project = f"Echo {SECRET_KEY} {PUBLIC_KEY}"
    client = client_of(people)
    answers = [send(client, "put", path, keys(langfuse_server)).content for path in (DOORS[0], REST)]
    answers += [client.get(path).content for path in (DOORS[0], REST, "/api/audit-events/")]
    row = stored(people.tenant)
    assert row is not None
    rows = [row, *AuditEvent.objects.all()]
    dumped = [serializers.serialize("json", rows), repr(row.open_secret()), str(row), str(connection.queries)]
    for text in (*(answer.decode() for answer in answers), *dumped):
        assert SECRET_KEY not in text and PUBLIC_KEY not in text
    opened = row.open_secret()
    assert opened is not None
    assert opened.reveal(origin=langfuse_server.root) == f"{PUBLIC_KEY}:{SECRET_KEY}"
    with pytest.raises(SecretMisdirected):
        opened.reveal(origin="https://elsewhere.example:443")


def test_members_look_and_outsiders_have_their_own(people: People, langfuse_server: FakeLangfuse) -> None:
    send(client_of(people), "put", REST, keys(langfuse_server))
    member, outsider = client_of(people, Role.MEMBER), client_of(people, None)
    before = stored(people.tenant)
    assert member.get(REST).status_code == 200
    for client, status in ((member, 403), (client_of(people, scopes=["read"]), 403)):
        assert send(client, "put", REST, keys(langfuse_server)).status_code == status
        assert send(client, "patch", REST, {"content": True}).status_code == status
        assert client.delete(REST).status_code == status
        assert send(client, "put", DOORS[0], keys(langfuse_server)).json()["code"] == 108
        assert client.delete(DOORS[0]).json()["code"] == 108
    assert outsider.get(REST).status_code == 404
    assert outsider.delete(REST).status_code == 404
    assert send(outsider, "patch", REST, {"content": True}).status_code == 404
    assert outsider.get(DOORS[0]).json()["data"] is None
    assert send(outsider, "put", REST, keys(langfuse_server)).status_code == 200  # theirs, in their own tenant
    assert Client().get(REST).status_code == 401
    after = stored(people.tenant)
    assert before is not None and after is not None
    assert (after.secret, after.updated_at) == (before.secret, before.updated_at)
    assert json.loads(client_of(people, scopes=["invoke"]).get(REST).content)["code"] == "forbidden"
