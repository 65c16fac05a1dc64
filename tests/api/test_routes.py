"""Routes over REST: one document with its targets."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from runtimes.models import Audience, ServiceModel, ServiceTenant
from tenants.models import AuditEvent, Route, TenantLLM
from tests.api.world import World, bearer
from tests.people import make_token
from tests.runtimes.making import make_service

pytestmark = pytest.mark.django_db


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def patch(client: Client, path: str, body: Any) -> Any:
    return client.patch(path, body, content_type="application/json")


def names(client: Client, path: str) -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


@pytest.fixture
def second(world: World) -> TenantLLM:
    return TenantLLM.objects.create(
        tenant=world.tenant, credential=world.credential, factory=world.factory, llm_name="long", model_types=["chat"]
    )


def document(world: World, *more: dict[str, Any], **values: Any) -> dict[str, Any]:
    targets = [{"tenant_model": str(world.tenant_llm.pk)}, *more]
    return {"name": "fast", "model_type": "chat", "targets": targets, **values}


def test_a_route_is_made_with_its_targets_and_shown_as_one_document(
    world: World, owner: Client, second: TenantLLM
) -> None:
    later = {"tenant_model": str(second.pk), "position": 2, "weight": 5, "only_on": ["context_length_exceeded"]}
    made = post(owner, "/api/routes/", document(world, later, timeout_s=30, description="For the site"))
    assert made.status_code == 201, made.content
    shown = made.json()
    assert made["Location"] == f"/api/routes/{shown['id']}/"
    assert owner.get(made["Location"]).json() == shown
    assert (shown["timeout_s"], shown["max_retries"], shown["strategy"], shown["usable"]) == (30, None, "ordered", True)
    defaults = {"service_model": None, "position": 1, "weight": 1, "only_on": [], "status": "1", "usable": True}
    assert shown["targets"] == [
        {"tenant_model": str(world.tenant_llm.pk), "name": "gpt@Vendor", **defaults},
        {**defaults, **later, "name": "long@Vendor"},
    ]


def test_a_patch_changes_what_it_names_replaces_targets_as_a_whole_and_null_lifts_a_limit(
    world: World, owner: Client, second: TenantLLM
) -> None:
    made = post(owner, "/api/routes/", document(world, timeout_s=30, max_retries=2)).json()
    path = f"/api/routes/{made['id']}/"
    assert patch(owner, path, {}).json() == made
    changed = patch(owner, path, {"timeout_s": None, "name": "faster"}).json()
    assert (changed["timeout_s"], changed["max_retries"], changed["name"]) == (None, 2, "faster")
    assert changed["targets"] == made["targets"]
    replaced = patch(owner, path, {"targets": [{"tenant_model": str(second.pk), "weight": 9}]}).json()
    assert [(target["name"], target["weight"]) for target in replaced["targets"]] == [("long@Vendor", 9)]
    assert owner.delete(path).status_code == 204
    assert owner.get(path).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a@b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "Vendor/gpt"}, "name"),
        ({"model_type": "embedding"}, "targets"),
        ({"model_type": "poetry"}, "model_type"),
        ({"strategy": "first"}, "strategy"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"max_retries": 99}, "max_retries"),
        ({"targets": []}, "targets"),
        ({"targets": [{}]}, "targets.0.tenant_model"),
        ({"targets": [{"tenant_model": "1", "weight": 0}]}, "targets.0.weight"),
        ({"targets": [{"tenant_model": "1", "weight": 1001}]}, "targets.0.weight"),
        ({"targets": [{"tenant_model": "1", "position": 0}]}, "targets.0.position"),
        ({"targets": [{"tenant_model": "1", "only_on": ["rain"]}]}, "targets.0.only_on.0"),
        ({"targets": [{"tenant_model": "1", "id": "1"}]}, "targets.0.id"),
        ({"tenant": "x"}, "tenant"),
        ({"usable": True}, "usable"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(
    world: World, owner: Client, change: dict[str, Any], field: str
) -> None:
    before = world.owned()
    for answer in (
        post(owner, "/api/routes/", {**document(world), **change}),
        patch(owner, f"/api/routes/{world.route.pk}/", change),
    ):
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field]), answer.content
    assert world.owned() == before


@pytest.mark.parametrize("pk", ["0", "999999999999999999", "9" * 40, "-1", "x", "１", "1.0"])
def test_a_model_that_is_not_there_is_not_found(world: World, owner: Client, pk: str) -> None:
    body = {"targets": [{"tenant_model": pk}]}
    assert post(owner, "/api/routes/", {**document(world), **body}).status_code == 404
    assert patch(owner, f"/api/routes/{world.route.pk}/", body).status_code == 404
    assert names(owner, f"/api/routes/?tenant_model={pk}") == []


def test_nobody_routes_to_another_tenants_model(world: World) -> None:
    stranger = bearer(make_token(world.people.elsewhere, user=world.people.outsider))
    before = Route.objects.count()
    assert post(stranger, "/api/routes/", document(world)).status_code == 404
    assert Route.objects.count() == before


def serve(world: World, *, audience: str = Audience.ALL) -> ServiceModel:
    service = make_service("http://127.0.0.1:9", name="den", audience=audience)
    return ServiceModel.objects.create(service=service, name="llama:8b", model_types=["chat"])


def test_a_route_leads_to_a_services_model_too(world: World, owner: Client) -> None:
    served = serve(world)
    body = document(world, {"service_model": "den~llama:8b", "position": 2})
    made = post(owner, "/api/routes/", body)
    assert made.status_code == 201, made.content
    target = made.json()["targets"][1]
    assert (target["tenant_model"], target["service_model"], target["name"]) == (None, "den~llama:8b", "den~llama:8b")
    assert target["usable"] is True
    assert names(owner, "/api/routes/?service_model=den~llama:8b") == ["fast"]
    assert names(owner, "/api/routes/?service_model=den~other") == []
    path = f"/api/routes/{made.json()['id']}/"
    only = patch(owner, path, {"targets": [{"service_model": "den~llama:8b"}]}).json()
    assert (only["usable"], [one["name"] for one in only["targets"]]) == (True, ["den~llama:8b"])
    served.service.audience = Audience.NONE
    served.service.save()
    shown = owner.get(path).json()
    assert (shown["usable"], shown["targets"][0]["usable"]) == (False, False)
    assert patch(owner, path, {"description": "kept"}).json()["targets"] == shown["targets"]


def test_a_service_that_the_tenant_may_not_use_is_not_found(world: World, owner: Client) -> None:
    served = serve(world, audience=Audience.SOME)
    body = document(world, {"service_model": "den~llama:8b"})
    unknown = document(world, {"service_model": "nowhere~llama:8b"})
    answers = [post(owner, "/api/routes/", one) for one in (body, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["detail"].replace("den", "nowhere") == answers[1].json()["detail"]
    ServiceTenant.objects.create(service=served.service, tenant_id=world.tenant.pk)
    stranger = bearer(make_token(world.people.elsewhere, user=world.people.outsider))
    foreign = {**body, "targets": body["targets"][1:]}
    assert post(stranger, "/api/routes/", foreign).status_code == 404
    member = bearer(make_token(world.tenant, user=world.people.member))
    assert post(member, "/api/routes/", body).status_code == 403
    assert post(owner, "/api/routes/", body).status_code == 201
    assert names(member, "/api/routes/?service_model=den~llama:8b") == ["fast"]
    assert names(stranger, "/api/routes/?service_model=den~llama:8b") == []


@pytest.mark.parametrize("target", [{"tenant_model": "1", "service_model": "den~llama:8b"}, {"service_model": ""}])
def test_a_target_is_either_the_tenants_or_a_services(world: World, owner: Client, target: dict[str, Any]) -> None:
    answer = post(owner, "/api/routes/", {**document(world), "targets": [target]})
    assert answer.status_code == 400
    assert all(field.startswith("targets.0.") for field in answer.json()["fields"])


def test_a_name_that_is_taken_clashes(world: World, owner: Client) -> None:
    answer = post(owner, "/api/routes/", document(world, name=world.route.name))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_routes_are_filtered_searched_and_ordered(world: World, owner: Client, second: TenantLLM) -> None:
    body = document(world, {"tenant_model": str(second.pk)}, description="slow but sure", strategy="weighted")
    post(owner, "/api/routes/", body)
    first = world.route.name
    assert names(owner, "/api/routes/?ordering=-name") == [first, "fast"]
    assert names(owner, "/api/routes/?search=sure") == ["fast"]
    assert names(owner, f"/api/routes/?name={first}") == [first]
    assert names(owner, "/api/routes/?strategy=weighted&type=chat&status=1") == ["fast"]
    assert names(owner, "/api/routes/?type=embedding") == []
    assert names(owner, f"/api/routes/?tenant_model={second.pk}") == ["fast"]
    assert names(owner, f"/api/routes/?credential={world.credential.pk}&ordering=name") == ["fast", first]
    assert names(owner, f"/api/routes/?credential={'0' * 32}") == []


def test_a_route_that_leads_nowhere_says_so(world: World, owner: Client) -> None:
    path = f"/api/routes/{world.route.pk}/"
    patch(owner, f"/api/tenant-models/{world.tenant_llm.pk}/", {"status": "0"})
    shown = owner.get(path).json()
    assert (shown["usable"], [target["usable"] for target in shown["targets"]]) == (False, [False])
    owner.delete(f"/api/tenant-models/{world.tenant_llm.pk}/")
    shown = owner.get(path).json()
    assert (shown["usable"], shown["targets"]) == (False, [])
    assert AuditEvent.objects.get(action="model.deleted").detail["routes"] == [world.route.name]


def test_a_default_model_may_be_a_route(world: World, owner: Client) -> None:
    path = f"/api/tenants/{world.tenant.pk}/"
    assert patch(owner, path, {"llm_id": world.route.name}).json()["llm_id"] == world.route.name
    patch(owner, f"/api/routes/{world.route.pk}/", {"name": "faster"})
    assert owner.get(path).json()["llm_id"] == "faster"


def test_a_token_is_made_for_some_models_only(world: World, owner: Client) -> None:
    body = {"name": "App", "scopes": ["write", "invoke"]}
    made = post(owner, "/api/tokens/", {**body, "models": ["*@Vendor", "fast"]}).json()
    assert made["models"] == ["*@Vendor", "fast"]
    assert owner.get(f"/api/tokens/{made['id']}/").json()["models"] == ["*@Vendor", "fast"]
    assert post(owner, "/api/tokens/", body).json()["models"] == []
    child = bearer(made["token"])
    assert post(child, "/api/tokens/", body).json()["models"] == ["*@Vendor", "fast"]
    assert post(child, "/api/tokens/", {**body, "models": ["gpt@Vendor"]}).json()["models"] == ["gpt@Vendor"]
    assert post(child, "/api/tokens/", {**body, "models": ["*"]}).status_code == 403
    for wrong in ([""], ["x" * 301], "fast", [1, None]):
        assert post(owner, "/api/tokens/", {**body, "models": wrong}).status_code == 400
