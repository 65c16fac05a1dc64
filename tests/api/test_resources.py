"""The other resources: catalogue, tenants, members, tokens, models, jobs, history."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core.clock import now
from providers.models import LLM, LLMFactory
from tenants.models import ApiToken, AuditEvent, Membership, Probe, Tenant
from tests.api.world import World, bearer, session
from tests.people import make_token, make_user

pytestmark = pytest.mark.django_db


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def patch(client: Client, path: str, body: Any) -> Any:
    return client.patch(path, body, content_type="application/json")


def names(client: Client, path: str, key: str = "name") -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return [row[key] for row in answer.json()["results"]]


def test_a_factory_says_what_it_asks_for(world: World, owner: Client) -> None:
    shown = owner.get(f"/api/factories/{world.factory.pk}/").json()
    assert (shown["id"], shown["name"], shown["tags"]) == (str(world.factory.pk), "Vendor", ["LLM", "RERANK"])
    assert shown["credential_fields"] == [{"name": "api_key", "label": "API key", "secret": True, "required": True}]
    assert "allowed_networks" not in shown
    assert "quirks" not in shown


def test_only_enabled_and_visible_factories_and_models_are_offered(world: World, owner: Client) -> None:
    hidden = LLMFactory.objects.create(name="Hidden", hidden=True)
    off = LLMFactory.objects.create(name="Off", status="0")
    for factory, status in ((hidden, "1"), (off, "1"), (world.factory, "0")):
        LLM.objects.create(factory=factory, llm_name="other", model_types=["chat"], status=status)
    assert names(owner, "/api/factories/") == ["Vendor"]
    assert names(owner, "/api/models/") == ["gpt@Vendor"]


def test_the_catalogue_can_be_filtered_searched_and_ordered(world: World, owner: Client) -> None:
    LLM.objects.create(
        factory=world.factory, llm_name="ada", model_types=["embedding"], input_price="0.1", price_source="operator"
    )
    assert names(owner, "/api/models/?ordering=-llm_name", "llm_name") == ["gpt", "ada"]
    assert names(owner, "/api/models/?type=image2text", "llm_name") == ["gpt"]
    assert names(owner, "/api/models/?priced=true", "llm_name") == ["ada"]
    assert names(owner, "/api/models/?priced=false", "llm_name") == ["gpt"]
    assert names(owner, "/api/models/?search=AD", "llm_name") == ["ada"]
    assert names(owner, "/api/models/?factory=Nobody") == []
    assert names(owner, "/api/models/?status=0") == []
    assert names(owner, "/api/factories/?type=rerank") == []
    assert names(owner, "/api/factories/?type=embedding&tag=rerank") == ["Vendor"]
    unpriced = owner.get(f"/api/models/{world.llm.pk}/").json()
    assert (unpriced["priced"], unpriced["input_price"]) == (False, None)


@pytest.mark.parametrize(
    "path",
    ["/api/models/?type=nothing", "/api/models/?min_tokens=-1", "/api/jobs/?created_after=yesterday",
     "/api/jobs/?created_after=0001-01-01T00:00:00%2B23:00", "/api/models/?factory=%00", "/api/probes/?verdict=fine",
     "/api/models/?ordering=llm_name,-price_detail", "/api/models/?page=x", "/api/models/?page=0",
     *(f"/api/{kind}/?page_size={size}" for kind in ("models", "probes", "job_types") for size in ("abc", "0", "²"))],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused(owner: Client, path: str) -> None:
    answer = owner.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert list(answer.json()["fields"]) == [path.partition("?")[2].partition("=")[0]]


def test_a_parameter_that_a_list_does_not_have_is_refused_with_those_that_its_description_names(
    world: World, owner: Client
) -> None:
    paths = owner.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()["paths"]
    lists = {"/api/credentials/{id}/models/": f"/api/credentials/{world.credential.pk}/models/"}
    lists |= {path: path for path in paths if path.startswith("/api/") and "{" not in path and "get" in paths[path]}
    asked = 0
    for described, path in lists.items():
        parameters = [one["name"] for one in paths[described]["get"].get("parameters", []) if one["in"] == "query"]
        if not parameters:
            continue
        asked += 1
        answer = owner.get(path, {"tennant": "x", parameters[0]: ""})
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), path
        problem = answer.json()
        assert list(problem["fields"]) == ["tennant"], path
        assert problem["hint"] == f"The parameters here are: {', '.join(sorted(parameters))}.", path
    assert asked == 19


@pytest.mark.parametrize(
    "path", ["/llm/services", "/llm/models", "/llm/services/mock/ping", "/jobs", "/job_types", "/api/usage/summary/"]
)
def test_lists_at_other_places_refuse_what_they_do_not_know_as_well(world: World, owner: Client, path: str) -> None:
    answer = owner.get(path, {"tenant": "x"} if path.startswith("/api") else {"tennant": "x"})
    assert answer.status_code == 400
    assert "There is no such parameter." in answer.content.decode()


def test_pages_have_a_size_and_an_end(world: World, owner: Client) -> None:
    world.grow(3)
    page = owner.get("/api/models/?page_size=2").json()
    assert (page["count"], len(page["results"])) == (4, 2)
    assert owner.get(page["next"]).json()["next"] is None
    assert owner.get("/api/models/?page=99").status_code == 404
    assert len(owner.get("/api/models/?page_size=1000000").json()["results"]) == 4


def test_a_timeline_is_read_page_by_page_newest_first(world: World, owner: Client) -> None:
    world.grow(4)
    seen, path = [], "/api/probes/?page_size=2"
    while path:
        page = owner.get(path).json()
        seen += [row["id"] for row in page["results"]]
        path = page["next"]
    assert seen == [str(pk) for pk in Probe.objects.order_by("-created_at", "-id").values_list("pk", flat=True)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "p=0001",
        "p=yesterday",
        "p=2020-01-01T00:00:00",
        "p=0001-01-01T00:00:00%2B23:00",
        "o=99999999999&p=2020",
        "o=-1",
    ],
)
def test_an_edited_cursor_breaks_nothing(world: World, owner: Client, text: str) -> None:
    cursor = b64encode(text.encode()).decode()
    answer = owner.get("/api/probes/", {"cursor": cursor})
    assert answer.status_code in (200, 404)
    assert owner.get("/api/probes/", {"cursor": "not base64 é"}).status_code == 404


def test_a_person_sees_their_tenants_and_a_token_its_own(world: World) -> None:
    other = Tenant.objects.create(name="Second")
    Membership.objects.create(tenant=other, user=world.people.owner, role="member")
    listed = session(world.people.owner).get("/api/tenants/").json()["results"]
    assert {row["id"]: row["role"] for row in listed} == {world.tenant.pk: "owner", other.pk: "member"}
    token = bearer(make_token(world.tenant, user=world.people.owner))
    assert names(token, "/api/tenants/", "id") == [world.tenant.pk]
    assert token.get(f"/api/tenants/{other.pk}/").status_code == 404
    assert patch(session(world.people.owner), f"/api/tenants/{other.pk}/", {"name": "x"}).status_code == 403


def test_managers_change_name_and_default_models_at_once_or_not_at_all(world: World, owner: Client) -> None:
    path = f"/api/tenants/{world.tenant.pk}/"
    refused = patch(owner, path, {"name": "New", "embd_id": "gpt@Vendor"})
    assert (refused.status_code, list(refused.json()["fields"])) == (400, ["embd_id"])
    assert owner.get(path).json()["name"] == world.tenant.name
    changed = patch(owner, path, {"name": "New", "llm_id": "gpt@Vendor"}).json()
    assert (changed["name"], changed["llm_id"]) == ("New", "gpt@Vendor")
    for forbidden in ("status", "id", "role", "parser_ids", "created_at"):
        assert patch(owner, path, {forbidden: "0"}).json()["fields"] == {forbidden: ["There is no such field to set."]}


def test_a_person_makes_a_tenant_and_deletes_it(world: World) -> None:
    client = session(world.people.member)
    made = post(client, "/api/tenants/", {"name": "Mine"})
    assert (made.status_code, made.json()["role"]) == (201, "owner")
    token = bearer(make_token(Tenant.objects.get(pk=made.json()["id"]), user=world.people.member))
    assert token.delete(f"/api/tenants/{made.json()['id']}/").status_code == 403
    assert client.delete(f"/api/tenants/{made.json()['id']}/").status_code == 204
    assert not Tenant.objects.filter(pk=made.json()["id"]).exists()
    assert session(world.people.admin).delete(f"/api/tenants/{world.tenant.pk}/").status_code == 403


def test_members_come_with_a_role_and_go(world: World, owner: Client) -> None:
    friend = make_user("friend")
    made = post(owner, "/api/members/", {"username": "friend"})
    assert (made.status_code, made.json()["role"]) == (201, "member")
    assert post(owner, "/api/members/", {"username": "friend"}).status_code == 409
    assert post(owner, "/api/members/", {"username": "nobody"}).status_code == 400
    path = f"/api/members/{made.json()['id']}/"
    admin = bearer(make_token(world.tenant, user=world.people.admin))
    assert patch(admin, path, {"role": "owner"}).status_code == 403
    assert patch(owner, path, {"role": "admin"}).json()["role"] == "admin"
    assert names(owner, "/api/members/?role=admin&search=friend", "username") == ["friend"]
    assert owner.delete(path).status_code == 204
    assert not Membership.objects.filter(user=friend).exists()


def test_the_last_owner_cannot_leave(world: World, owner: Client) -> None:
    row = Membership.objects.get(tenant=world.tenant, user=world.people.owner)
    answer = owner.delete(f"/api/members/{row.pk}/")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")


def test_a_token_is_shown_once(world: World, owner: Client) -> None:
    made = post(owner, "/api/tokens/", {"name": "App", "scopes": ["read", "invoke"]})
    plain = made.json()["token"]
    assert made["Cache-Control"] == "no-store"
    assert bearer(plain).get("/api/me/").json()["scopes"] == ["invoke", "read"]
    listed = owner.get("/api/tokens/")
    assert plain not in listed.content.decode()
    assert ApiToken.objects.get(pk=made.json()["id"]).digest not in listed.content.decode()
    assert plain not in str(list(AuditEvent.objects.values()))
    assert owner.delete(f"/api/tokens/{made.json()['id']}/").status_code == 204
    assert bearer(plain).get("/api/me/").status_code == 401
    assert names(owner, "/api/tokens/?revoked=true") == ["App"]


def test_a_token_gives_no_more_than_it_has(world: World) -> None:
    client = bearer(make_token(world.tenant, scopes=["read", "write"], user=world.people.owner))
    assert post(client, "/api/tokens/", {"name": "x", "scopes": ["invoke"]}).status_code == 403
    past = (now() - timedelta(days=1)).isoformat()
    for wrong in ({"scopes": ["read"], "expires_at": past}, {"scopes": ["read"], "digest": "x"}, {"scopes": ["god"]}):
        assert post(client, "/api/tokens/", {"name": "x", **wrong}).status_code == 400


def test_a_model_is_added_changed_and_taken_away(world: World, owner: Client) -> None:
    body = {"credential": world.credential.pk, "llm_name": "mine", "model_types": ["chat", "image2text"]}
    made = post(owner, "/api/tenant-models/", body)
    assert made.status_code == 201, made.content
    assert (made.json()["name"], made.json()["verdict"]) == ("mine@Vendor", "untested")
    assert post(owner, "/api/tenant-models/", body).status_code == 409
    path = f"/api/tenant-models/{made.json()['id']}/"
    changed = patch(owner, path, {"status": "0", "max_tokens": 99, "is_tools": True}).json()
    assert (changed["status"], changed["max_tokens"], changed["is_tools"]) == ("0", 99, True)
    assert patch(owner, path, {"used_tokens": 0}).status_code == 400
    assert names(owner, "/api/tenant-models/?type=image2text", "llm_name") == ["mine"]
    assert owner.delete(path).status_code == 204
    foreign = {**body, "credential": "0" * 32}
    assert post(owner, "/api/tenant-models/", foreign).status_code == 404


def test_a_job_of_the_installation_is_nobodys(world: World, owner: Client) -> None:
    from jobs.models import Job

    job = Job.objects.create(type="catalog_import")
    assert owner.get(f"/api/jobs/{job.pk}/").status_code == 404
    assert session(make_user()).get(f"/api/jobs/{job.pk}/").status_code == 404
    assert session(make_user()).get("/api/jobs/").json()["results"] == []


def test_a_job_shows_no_lease_and_can_be_cancelled_and_retried(world: World, owner: Client) -> None:
    shown = owner.get(f"/api/jobs/{world.job.pk}/").json()
    assert "lease" not in shown
    assert "checkpoint" not in shown
    again = post(owner, f"/api/jobs/{world.job.pk}/retry/", {})
    assert (again.status_code, again.json()["state"]) == (200, "pending")
    assert names(owner, "/api/jobs/?active=true", "id") == [again.json()["id"]]
    assert post(owner, f"/api/jobs/{world.job.pk}/retry/", {}).status_code == 409
    assert post(owner, f"/api/jobs/{world.job.pk}/cancel/", {}).json()["state"] == "cancelled"
    assert names(owner, "/api/jobs/?state=cancelled&state=failed", "id") == [world.job.pk]


def test_every_write_is_in_the_audit_log(world: World, owner: Client) -> None:
    post(owner, "/api/tokens/", {"name": "App", "scopes": ["read"]})
    event = owner.get("/api/audit-events/?action=token.created").json()["results"][0]
    assert event["target"].startswith("App (lla_")
    assert event["token_id"]
    assert event["actor"].startswith(world.people.owner.username)
