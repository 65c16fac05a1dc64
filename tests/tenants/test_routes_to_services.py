"""Routes that lead to models of services: who may, what is passed over, and what happens when a service goes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core.errors import InvalidInput, NotFound
from runtimes.models import Audience, LLMService, ModelState, ServiceModel, ServiceTenant
from runtimes.services import services
from tenants.models import AuditEvent, Credential, OnError, Route, RouteTarget, TenantLLM
from tenants.services import routes
from tenants.services.route_plans import RoutePlan, TargetPlan, plan_of
from tests.people import People, make_people
from tests.racing import raised_meanwhile
from tests.runtimes.making import make_service
from tests.tenants.setting import ACTOR, make_factory, save_credential, serve

pytestmark = pytest.mark.django_db
NAME = "den~llama:8b"


@pytest.fixture
def credential(people: People) -> Credential:
    found = save_credential(people.tenant, make_factory(), None, base_url="https://here.example/v1")
    serve(found, small="chat", vectors="embedding")
    return found


@pytest.fixture
def den() -> LLMService:
    made = make_service("http://127.0.0.1:9", name="den", audience=Audience.ALL)
    ServiceModel.objects.create(service=made, name="llama:8b", model_types=["chat", "image2text"])
    ServiceModel.objects.create(service=made, name="embedder", model_types=["embedding"])
    return made


def own(name: str = "small", **values: Any) -> TargetPlan:
    return TargetPlan(TenantLLM.objects.get(llm_name=name).pk, **values)


def served(name: str = NAME, **values: Any) -> TargetPlan:
    return TargetPlan(service_model=name, **values)


def make(credential: Credential, *targets: TargetPlan, name: str = "fast", model_type: str = "chat") -> Route:
    return routes.create(tenant=credential.tenant, plan=RoutePlan(name, model_type, targets), actor=ACTOR)


def usable(credential: Credential) -> list[list[int | None]]:
    """The services' models of the route's groups; None for one of the tenant's own."""
    found = routes.for_tenant(credential.tenant_id)
    return [[target.service_model_id for target in group] for route in found for group in route.groups]


def test_a_route_leads_to_both_and_is_made_from_its_plan(credential: Credential, den: LLMService) -> None:
    plan = (served(weight=3), own(position=2, only_on=(OnError.TIMED_OUT.value,)))
    route = make(credential, *plan)
    assert plan_of(route).targets == plan
    assert usable(credential) == [[ServiceModel.objects.get(name="llama:8b").pk], [None]]
    kept = route.targets.get(tenant_llm=None).pk
    changed = routes.update(route, targets=(served(weight=7),), actor=ACTOR)
    assert [(row.pk, row.weight) for row in changed.targets.all()] == [(kept, 7)]
    event = AuditEvent.objects.get(action="route.updated")
    assert event.detail["changes"]["targets"]["to"] == [f"model {NAME}, position 1, weight 7"]


def test_a_model_is_behind_a_route_once_and_does_its_type(credential: Credential, den: LLMService) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(credential, served(), served(position=2))
    assert caught.value.fields == {"targets": ["Each model once."]}
    with pytest.raises(InvalidInput) as caught:
        make(credential, own(), served("den~embedder"))
    assert caught.value.fields == {"targets": ["Not for chat: den~embedder."]}
    for neither in (TargetPlan(), TargetPlan(1, service_model=NAME)):
        with pytest.raises(InvalidInput) as caught:
            make(credential, own(), neither)
        assert list(caught.value.fields) == ["targets.1"]
    assert not Route.objects.exists()


@pytest.mark.parametrize("name", ["den~other", "attic~llama:8b", "den", "llama:8b", "den~", "~", "den~llama:8b\0"])
def test_a_model_that_no_service_has_is_not_found(credential: Credential, den: LLMService, name: str) -> None:
    with pytest.raises(NotFound):
        make(credential, own(), served(name))


def test_a_service_that_the_tenant_may_not_use_is_not_found(credential: Credential, den: LLMService) -> None:
    for columns in ({"audience": Audience.SOME}, {"audience": Audience.NONE}, {"is_enabled": False}):
        LLMService.objects.update(**{"audience": Audience.ALL, "is_enabled": True, **columns})
        with pytest.raises(NotFound):
            make(credential, served())
    LLMService.objects.update(audience=Audience.SOME, is_enabled=True)
    ServiceTenant.objects.create(service=den, tenant_id=credential.tenant_id)
    assert make(credential, served()).is_usable


def test_a_service_that_is_taken_away_is_passed_over_and_comes_back(credential: Credential, den: LLMService) -> None:
    route = make(credential, served(), own(position=2))
    model = ServiceModel.objects.get(name="llama:8b")
    assert usable(credential) == [[model.pk], [None]]
    services.set_audience(service_id=den.pk, audience=Audience.NONE, actor=ACTOR)
    assert usable(credential) == [[None]]
    assert [target.is_usable for target in route.targets.shown()] == [False, True]
    assert routes.update(route, description="still mine", actor=ACTOR).targets.count() == 2
    changed = routes.update(route, targets=(served(weight=2), own(position=2)), actor=ACTOR)
    assert changed.targets.get(service_model=model).weight == 2
    services.set_audience(service_id=den.pk, audience=Audience.SOME, tenant_ids=[credential.tenant_id], actor=ACTOR)
    assert usable(credential) == [[model.pk], [None]]
    assert Route.objects.get().is_usable
    ServiceModel.objects.update(state=ModelState.REMOVED)
    assert usable(credential) == [[None]]
    ServiceModel.objects.update(state=ModelState.LOADED, model_types=["embedding"])
    assert usable(credential) == [[None]]
    assert [target.is_usable for target in route.targets.shown()] == [False, True]


def test_a_deleted_service_takes_its_models_out_of_routes(credential: Credential, den: LLMService) -> None:
    make(credential, served(), own())
    make(credential, served(), name="local")
    told = [str(loss) for loss in routes.losses_with_services([den], at_most=20)]
    assert told == [
        f"The route fast of {credential.tenant.name} loses 1 of its 2 targets",
        f"The route local of {credential.tenant.name} loses its last target, and answers nobody",
    ]
    assert len(routes.losses_with_services([den], at_most=1)) == 1
    services.delete(service_id=den.pk, actor=ACTOR)
    assert (Route.objects.count(), RouteTarget.objects.count()) == (2, 1)
    assert usable(credential) == [[None]]


def test_a_renamed_service_stays_in_routes(credential: Credential, den: LLMService) -> None:
    route = make(credential, served())
    LLMService.objects.update(name="attic")
    assert plan_of(route).targets == (served("attic~llama:8b"),)


def test_the_database_refuses_a_target_of_two_models_or_of_none(credential: Credential, den: LLMService) -> None:
    make(credential, served())
    own_id = own().tenant_llm_id
    for wrong in ({"tenant_llm": own_id}, {"service_model": None}):
        with pytest.raises(IntegrityError), transaction.atomic():
            RouteTarget.objects.update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        row = RouteTarget.objects.get()
        RouteTarget.objects.create(route=row.route, service_model=row.service_model)
    for columns in ({}, {"tenant_llm_id": own_id, "service_model": ServiceModel.objects.first()}):
        with pytest.raises(ValidationError, match="Either a model"):
            RouteTarget(route=Route.objects.get(), **columns).clean()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time")
@pytest.mark.parametrize("present", [False, True])
def test_a_service_that_is_being_deleted_is_given_to_no_route(transactional_db: None, present: bool) -> None:
    credential = save_credential(make_people().tenant, make_factory(), None, base_url="https://here.example/v1")
    serve(credential, small="chat")
    service = make_service("http://127.0.0.1:9", name="den", audience=Audience.ALL)
    ServiceModel.objects.create(service=service, name="llama:8b", model_types=["chat"])
    route = make(credential, *((own(), served()) if present else (own(),)))
    plan = (own(), served(weight=2))
    raised = raised_meanwhile(
        lambda: services.delete(service_id=service.pk, actor=ACTOR),
        lambda: routes.update(route, targets=plan, actor=ACTOR),
    )
    assert [type(error) for error in raised] == [NotFound]
    assert [target.service_model_id for target in route.targets.all()] == [None]


def test_however_many_targets_there_are_they_take_few_queries(credential: Credential, den: LLMService) -> None:
    den.audience = Audience.SOME
    den.save()
    ServiceTenant.objects.create(service=den, tenant_id=credential.tenant_id)
    made = ServiceModel.objects.bulk_create(
        ServiceModel(service=den, name=f"m-{number}", model_types=["chat"]) for number in range(5)
    )
    route = make(credential, *(served(str(model)) for model in made))
    with CaptureQueriesContext(connection) as queries:
        assert len(routes.for_tenant(credential.tenant_id)[0].groups[0]) == 5
    assert (len(queries), '"secret"' in queries[0]["sql"]) == (1, False)
    with CaptureQueriesContext(connection) as queries:
        assert all(target.is_usable for target in route.targets.shown())
    assert len(queries) == 2
    assert not any('"secret"' in query["sql"] for query in queries)
