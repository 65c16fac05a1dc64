"""`/api/services`: set up by staff, with the permissions of the admin; keys go in and never come out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from runtimes.models import LLMService
from tenants.models import AuditEvent
from tests.api.world import bearer, session
from tests.people import People, make_token, make_user

pytestmark = pytest.mark.django_db
KEY = "sk-service-0123456789"


@pytest.fixture
def staff(db: None) -> Client:
    return session(make_user(is_staff=True, is_superuser=True))


def send(client: Client, method: str, path: str, body: Any = None) -> Any:
    return getattr(client, method)(f"/api/services{path}", body, content_type="application/json")


def made(client: Client, **fields: Any) -> Any:
    answer = send(client, "post", "/", {"name": "den", "type": "ollama", "urls": ["http://127.0.0.1:11434"], **fields})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_service_is_set_up_step_by_step(staff: Client, people: People) -> None:
    row = made(staff, description="Under a desk", long_timeout_s=600)
    assert (row["is_enabled"], row["audience"], row["long_timeout_s"]) == (False, "none", 600)
    refused = send(staff, "post", f"/{row['id']}/enable/")
    assert (refused.status_code, refused.json()["code"]) == (400, "network_not_approved")
    assert refused.json()["hint"]
    answer = send(staff, "post", f"/{row['id']}/networks/", {"networks": ["127.0.0.0/8"]})
    assert answer.json()["allowed_networks"] == ["127.0.0.0/8"]
    assert send(staff, "post", f"/{row['id']}/enable/").json()["is_enabled"] is True
    body = {"audience": "some", "tenants": [people.tenant.pk]}
    assert send(staff, "post", f"/{row['id']}/audience/", body).json()["tenants"] == [people.tenant.pk]
    assert send(staff, "post", f"/{row['id']}/default/").json()["is_default"] is True
    member = bearer(make_token(people.tenant, user=people.member))
    assert [one["name"] for one in member.get("/llm/services").json()["services"]] == ["den"]
    assert session(people.outsider).get("/llm/services").json()["total"] == 0
    assert send(staff, "patch", f"/{row['id']}/", {"description": ""}).json()["description"] == ""
    assert send(staff, "post", f"/{row['id']}/disable/").json()["is_enabled"] is False
    assert send(staff, "delete", f"/{row['id']}/").status_code == 204
    assert not LLMService.objects.exists()
    actions = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
    assert actions == [
        "service.created", "service.networks_approved", "service.enabled", "service.audience_changed",
        "service.default_changed", "service.updated", "service.disabled", "service.deleted",
    ]  # fmt: skip


def test_a_key_is_never_shown_again(staff: Client) -> None:
    row = made(staff, key=KEY)
    assert (row["has_key"], row["key_last4"]) == (True, KEY[-4:])
    told = json.dumps(row) + staff.get("/api/services/").content.decode()
    told += staff.get(f"/api/services/{row['id']}/").content.decode()
    told += json.dumps(list(AuditEvent.objects.values("detail", "target")), default=str)
    assert KEY not in told
    assert "gAAAA" not in told
    moved = send(staff, "patch", f"/{row['id']}/", {"urls": ["http://127.0.0.2:1"]})
    assert (moved.status_code, list(moved.json()["fields"])) == (400, ["key"])
    assert (
        send(staff, "patch", f"/{row['id']}/", {"urls": ["http://127.0.0.2:1"], "key": ""}).json()["has_key"] is False
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Den Two"), ("type", "nothing"), ("urls", ["ftp://x"]), ("urls", "http://x"), ("api_format", "morse"),
     ("api_key_env_var", "SECRET_KEY"), ("api_key_env_var", "PATH"),
     ("short_timeout_s", 0), ("options", {"prices": 1}), ("secret", "x"),
     ("is_enabled", True), ("allowed_networks", ["0.0.0.0/0"])],
)  # fmt: skip
def test_what_makes_no_sense_changes_nothing(staff: Client, field: str, value: Any) -> None:
    row = made(staff)
    before = LLMService.objects.values().get()
    answer = send(staff, "patch", f"/{row['id']}/", {"description": "new", field: value})
    assert answer.status_code == 400
    assert [name.partition(".")[0] for name in answer.json()["fields"]] == [field]
    assert LLMService.objects.values().get() == before


def test_what_is_not_there_is_not_found(staff: Client) -> None:
    for method, path, body in (
        ("get", "", None), ("patch", "", {}), ("delete", "", None), ("post", "enable/", {}), ("post", "disable/", {}),
        ("post", "networks/", {"networks": []}), ("post", "audience/", {"audience": "all"}),
        ("post", "default/", {}),
    ):  # fmt: skip
        answer = send(staff, method, f"/{'0' * 32}/{path}", body)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json"), path


def test_nobody_but_staff_with_the_permission_may(people: People, staff: Client) -> None:
    row = made(staff)
    clerk = make_user(is_staff=True)
    before = LLMService.objects.values().get()
    for user in (people.owner, people.member, people.outsider, clerk):
        for method, path, body in (
            ("get", "/", None), ("post", "/", {"name": "x", "type": "ollama"}), ("get", f"/{row['id']}/", None),
            ("patch", f"/{row['id']}/", {"description": "mine"}), ("delete", f"/{row['id']}/", None),
            ("post", f"/{row['id']}/networks/", {"networks": ["10.0.0.0/8"]}), ("post", f"/{row['id']}/enable/", {}),
        ):  # fmt: skip
            assert send(session(user), method, path, body).status_code == 403, (method, path)
    token = bearer(make_token(people.tenant, user=User.objects.get(is_superuser=True)))
    assert send(token, "get", "/").status_code == 403  # a token is of a tenant, whoever made it
    assert LLMService.objects.values().get() == before
    clerk.user_permissions.add(Permission.objects.get(codename="view_llmservice"))
    assert send(session(clerk), "get", "/").json()["count"] == 1
    assert send(session(clerk), "delete", f"/{row['id']}/").status_code == 403


def test_networks_are_approved_by_those_who_may_approve_them(people: People, staff: Client) -> None:
    row = made(staff)
    clerk = make_user(is_staff=True)
    clerk.user_permissions.add(*Permission.objects.filter(codename__endswith="_llmservice"))
    wanted = ("post", f"/{row['id']}/networks/", {"networks": ["10.0.0.0/8"]})
    assert send(session(clerk), *wanted).status_code == 403
    assert LLMService.objects.get().allowed_networks == row["allowed_networks"]
    clerk.user_permissions.add(Permission.objects.get(codename="approve_networks"))
    assert send(session(clerk), *wanted).json()["allowed_networks"] == ["10.0.0.0/8"]
