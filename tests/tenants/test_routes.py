"""A tenant's public names for models: what they may be, what is behind them, and what happens when that goes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from core.errors import AppError, Conflict, InvalidInput, NotFound
from providers import errors
from tenants.models import AuditEvent, Credential, CredentialState, OnError, Route, RouteTarget, Tenant, TenantLLM
from tenants.services import credentials, defaults, drafts, routes, tenant_llms
from tenants.services.route_plans import MAX_TARGETS, RoutePlan, TargetPlan, plan_of
from tests.people import People, make_people
from tests.racing import raised_meanwhile
from tests.tenants.setting import ACTOR, make_factory, plan, save_credential, serve

pytestmark = pytest.mark.django_db
URL = "https://here.example/v1"
LONG, FILTER = OnError.CONTEXT_LENGTH.value, OnError.CONTENT_FILTER.value


@pytest.fixture
def credential(people: People) -> Credential:
    found = save_credential(people.tenant, make_factory(), None, base_url=URL)
    serve(found, small="chat", large="chat,image2text", vectors="embedding")
    return found


def model(name: str) -> TenantLLM:
    return TenantLLM.objects.get(llm_name=name)


def to(name: str, **values: Any) -> TargetPlan:
    return TargetPlan(model(name).pk, **values)


def make(credential: Credential, *targets: TargetPlan, name: str = "fast", **values: Any) -> Route:
    wanted = RoutePlan(**{"name": name, "model_type": "chat", "targets": targets or (to("small"),), **values})
    return routes.create(tenant=credential.tenant, plan=wanted, actor=ACTOR)


def refused(credential: Credential, *targets: TargetPlan, **values: Any) -> AppError:
    with pytest.raises(AppError) as caught:
        make(credential, *targets, **values)
    assert not Route.objects.exists()
    return caught.value


def test_a_route_is_made_from_its_plan(credential: Credential) -> None:
    targets = (to("small", weight=3), to("large", position=2, only_on=(LONG,)))
    made = make(credential, *targets, description="For the site", timeout_s=30, max_retries=0)
    assert plan_of(made) == RoutePlan(
        name="fast",
        model_type="chat",
        targets=targets,
        strategy="ordered",
        description="For the site",
        timeout_s=30,
        max_retries=0,
    )


@pytest.mark.parametrize("name", ["fast", "gpt-4o", "team/fast", "qwen3:8b", "v1.5+beta", "快速", "4", "openai/gpt-4o"])
def test_a_name_may_be(credential: Credential, name: str) -> None:
    assert make(credential, name=f" {name} ").name == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a@b", "a@Fake", "@", "a~b", "a b", "a*", "a___VLLM", "/a", "a/", "a//b", "a/../b", "-a", "_a", "a\0",
     "a\nb", "x" * 101, "a,b", "a?b", "a#b", "a%b", "\ud800"],
)  # fmt: skip
def test_a_name_may_not_be(credential: Credential, name: str) -> None:
    assert list(refused(credential, name=name).fields) == ["name"]


def test_a_name_must_not_look_like_a_factorys_model(credential: Credential) -> None:
    assert list(refused(credential, name="Fake/small").fields) == ["name"]
    route = make(credential)
    with pytest.raises(InvalidInput, match="Fake"):
        routes.update(route, name="Fake/other", actor=ACTOR)


def test_a_name_is_one_whichever_way_its_accents_are_written(credential: Credential) -> None:
    make(credential, name="caf\u00e9")
    with pytest.raises(Conflict):
        make(credential, name="cafe\u0301")


def test_a_name_is_one_tenants_alone(credential: Credential, people: People) -> None:
    make(credential)
    with pytest.raises(Conflict):
        make(credential)
    other = save_credential(people.elsewhere, credential.factory, None, base_url=URL)
    serve(other, elsewhere="chat")
    assert make(other, to("elsewhere")).tenant == people.elsewhere


def test_a_route_may_be_called_like_a_model(credential: Credential) -> None:
    assert make(credential, name="small").name == "small"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"model_type": "poetry"}, "model_type"),
        ({"strategy": "random"}, "strategy"),
        ({"status": "2"}, "status"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 3601}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": 1.5}, "timeout_s"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 11}, "max_retries"),
        ({"description": "x" * 501}, "description"),
        ({"description": "a\0b"}, "description"),
    ],
)
def test_nonsense_is_refused_by_name(credential: Credential, values: dict[str, Any], field: str) -> None:
    assert list(refused(credential, **values).fields) == [field]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": 1001}, "weight"),
        ({"weight": True}, "weight"),
        ({"weight": 0.5}, "weight"),
        ({"position": 0}, "position"),
        ({"position": 101}, "position"),
        ({"only_on": ("rain",)}, "only_on"),
    ],
)
def test_a_nonsensical_target_is_refused_by_place(credential: Credential, values: dict[str, Any], field: str) -> None:
    assert list(refused(credential, to("small"), to("large", **values)).fields) == [f"targets.1.{field}"]


def test_a_route_needs_a_target_that_is_tried_first(credential: Credential) -> None:
    assert list(refused(credential, to("small", only_on=(LONG,)), to("large", only_on=(FILTER,))).fields) == ["targets"]
    with pytest.raises(InvalidInput):
        routes.create(tenant=credential.tenant, plan=RoutePlan("fast", "chat", ()), actor=ACTOR)


def test_a_model_is_behind_a_route_once_and_does_its_type(credential: Credential) -> None:
    assert list(refused(credential, to("small"), to("small", position=2)).fields) == ["targets"]
    error = refused(credential, to("small"), to("vectors"))
    assert error.fields == {"targets": ["Not for chat: vectors@Fake."]}
    many = tuple(TargetPlan(number) for number in range(MAX_TARGETS + 1))
    assert list(refused(credential, *many).fields) == ["targets"]


def test_another_tenants_model_is_not_found(credential: Credential, people: People) -> None:
    other = save_credential(people.elsewhere, credential.factory, None, base_url=URL)
    serve(other, foreign="chat")
    foreign, nothing = refused(credential, to("foreign")), refused(credential, TargetPlan(10**9))
    assert isinstance(foreign, NotFound) and isinstance(nothing, NotFound)
    route = make(credential)
    with pytest.raises(NotFound):
        routes.update(route, targets=(to("small"), to("foreign")), actor=ACTOR)
    target = RouteTarget(route=route, tenant_llm=model("foreign"))
    with pytest.raises(ValidationError, match="another tenant"):
        target.full_clean()


@pytest.mark.parametrize(
    "columns",
    [{"name": ""}, {"name": "a@b"}, {"name": "a~b"}, {"timeout_s": 0}, {"max_retries": 11}, {"strategy": "x"}],
)
def test_the_database_refuses_what_no_service_writes(credential: Credential, columns: dict[str, Any]) -> None:
    route = make(credential)
    with pytest.raises(IntegrityError), transaction.atomic():
        Route.objects.filter(pk=route.pk).update(**columns)
    for wrong in ({"weight": 0}, {"weight": 1001}, {"position": 0}, {"status": "x"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            RouteTarget.objects.update(**wrong)


# --- Changes --------------------------------------------------------------------------------------------------------


def test_an_update_changes_what_is_given_and_none_clears(credential: Credential) -> None:
    route = make(credential, timeout_s=30, max_retries=2, description="x")
    before = plan_of(route)
    changed = routes.update(route, timeout_s=None, strategy="weighted", actor=ACTOR)
    assert (changed.timeout_s, changed.max_retries, changed.strategy, changed.description) == (None, 2, "weighted", "x")
    assert plan_of(changed).targets == before.targets
    events = AuditEvent.objects.filter(action="route.updated")
    assert events.get().detail["changes"] == {
        "strategy": {"from": "ordered", "to": "weighted"},
        "timeout_s": {"from": 30, "to": None},
    }
    routes.update(route, timeout_s=None, actor=ACTOR)
    assert events.count() == 1


def test_targets_are_replaced_as_a_whole_and_those_that_stay_keep_their_rows(credential: Credential) -> None:
    route = make(credential, to("small"), to("large", position=2))
    kept = route.targets.get(tenant_llm__llm_name="large").pk
    changed = routes.update(route, targets=(to("large", weight=7),), actor=ACTOR)
    assert [(row.pk, row.position, row.weight) for row in changed.targets.all()] == [(kept, 1, 7)]
    assert [row.llm_name for row in TenantLLM.objects.filter(route_targets__route=route)] == ["large"]


def test_a_refused_update_changes_nothing(credential: Credential) -> None:
    route = make(credential)
    before = plan_of(route)
    make(credential, name="taken")
    with pytest.raises(Conflict):
        routes.update(route, name="taken", targets=(to("large"),), actor=ACTOR)
    for wrong in ({"targets": ()}, {"model_type": "embedding"}, {"targets": (to("vectors"),)}, {"timeout_s": -1}):
        with pytest.raises(InvalidInput):
            routes.update(route, description="new", **wrong, actor=ACTOR)
    assert plan_of(Route.objects.get(pk=route.pk)) == before


def test_a_route_whose_model_has_lost_the_type_can_still_be_renamed(credential: Credential) -> None:
    route = make(credential, to("large"), model_type="image2text")
    tenant_llms.update(model("large"), model_types=["chat"], actor=ACTOR)
    assert routes.update(route, name="eyes", actor=ACTOR).name == "eyes"
    assert routes.for_tenant(route.tenant_id) == ()


def test_routes_are_switched_and_deleted_and_all_of_it_is_audited(credential: Credential) -> None:
    route = make(credential)
    assert routes.set_status([route], status="0", actor=ACTOR) == 1
    assert Route.objects.get().status == "0"
    routes.set_status([route], status="1", actor=ACTOR)
    routes.delete(route, actor=ACTOR)
    assert not RouteTarget.objects.exists()
    assert TenantLLM.objects.count() == 3
    with pytest.raises(NotFound):
        routes.update(route, name="x", actor=ACTOR)
    actions = AuditEvent.objects.filter(action__startswith="route.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["route.created", "route.disabled", "route.enabled", "route.deleted"]


# --- Default models -------------------------------------------------------------------------------------------------


def default(tenant: Tenant, **values: str) -> Tenant:
    return defaults.set_default_models(tenant, values=values, actor=ACTOR)


def test_a_default_model_may_be_a_route_of_its_type(credential: Credential) -> None:
    make(credential)
    tenant = default(credential.tenant, llm_id="fast")
    assert tenant.llm_id == "fast"
    for wrong in ({"embd_id": "fast"}, {"llm_id": "slow"}):
        with pytest.raises(InvalidInput):
            default(tenant, **wrong)
    routes.set_status(Route.objects.all(), status="0", actor=ACTOR)
    assert default(tenant, llm_id="fast").llm_id == "fast"
    default(tenant, llm_id="")
    with pytest.raises(InvalidInput):
        default(tenant, llm_id="fast")


def test_a_default_means_the_route_and_not_the_model_of_the_same_name(credential: Credential) -> None:
    make(credential, to("large"), name="small")
    assert default(credential.tenant, llm_id="small").llm_id == "small"
    assert default(credential.tenant, llm_id="small@Fake").llm_id == "small@Fake"


def test_a_default_follows_its_route_to_a_new_name(credential: Credential) -> None:
    route = make(credential)
    tenant = default(credential.tenant, llm_id="fast", img2txt_id="large@Fake")
    routes.update(route, name="faster", actor=ACTOR)
    tenant.refresh_from_db()
    assert (tenant.llm_id, tenant.img2txt_id) == ("faster", "large@Fake")
    routes.delete(route, actor=ACTOR)
    assert AuditEvent.objects.get(action="route.deleted").detail["defaults"] == ["llm_id"]


# --- What is routed -------------------------------------------------------------------------------------------------


def usable(credential: Credential) -> dict[str, Any]:
    return {route.name: route for route in routes.for_tenant(credential.tenant_id)}


def test_targets_are_grouped_by_position_or_all_together(credential: Credential) -> None:
    targets = (to("large", position=5, only_on=(LONG, FILTER)), to("small", position=2, weight=3))
    make(credential, *targets, timeout_s=9, max_retries=1)
    make(credential, *targets, name="mixed", strategy="weighted")
    small, large = (model("small").pk, 3, frozenset(), None), (model("large").pk, 1, frozenset({LONG, FILTER}), None)
    assert routes.for_tenant(credential.tenant_id) == (
        ("fast", "chat", 9, 1, ((small,), (large,))),
        ("mixed", "chat", None, None, ((small, large),)),
    )


def test_one_model_behind_two_keys_is_balanced(credential: Credential) -> None:
    second = save_credential(credential.tenant, credential.factory, None, base_url="https://there.example/v1")
    serve(second, small="chat")
    first_pk, second_pk = TenantLLM.objects.filter(llm_name="small").order_by("id").values_list("pk", flat=True)
    make(credential, TargetPlan(first_pk, weight=3), TargetPlan(second_pk))
    (group,) = usable(credential)["fast"].groups
    assert [(target.tenant_llm_id, target.weight) for target in group] == [(first_pk, 3), (second_pk, 1)]


def test_what_cannot_be_called_is_left_out(credential: Credential) -> None:
    route = make(credential, to("small"), to("large", position=2, only_on=(LONG,)))
    assert len(usable(credential)["fast"].groups) == 2
    tenant_llms.set_status([model("large")], status="0", actor=ACTOR)
    assert len(usable(credential)["fast"].groups) == 1
    tenant_llms.set_status([model("large")], status="1", actor=ACTOR)
    later = to("large", position=2, only_on=(LONG,))
    routes.update(route, targets=(to("small", status="0"), later), actor=ACTOR)
    assert usable(credential) == {}
    routes.update(route, targets=(to("small"), later), actor=ACTOR)
    Credential.objects.update(state=CredentialState.QUARANTINED)
    assert usable(credential) == {}
    Credential.objects.update(state=CredentialState.FAILING)
    assert set(usable(credential)) == {"fast"}
    routes.set_status([route], status="0", actor=ACTOR)
    assert usable(credential) == {}


def test_a_tenants_routes_are_its_own(credential: Credential, people: People) -> None:
    make(credential)
    assert routes.for_tenant(people.elsewhere.pk) == ()


def test_however_many_routes_there_are_they_take_one_query(credential: Credential) -> None:
    for number in range(5):
        make(credential, to("small"), to("large", position=2), name=f"route-{number}")
    with CaptureQueriesContext(connection) as queries:
        assert len(routes.for_tenant(credential.tenant_id)) == 5
    assert len(queries) == 1
    assert '"secret"' not in queries[0]["sql"]


def test_what_a_target_may_wait_for_are_codes_of_upstream_errors() -> None:
    codes = {error.code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "code")}
    assert set(OnError.values) <= codes


# --- When models go -------------------------------------------------------------------------------------------------


def test_what_a_deletion_takes_from_routes_is_known_before_and_told_after(credential: Credential) -> None:
    make(credential, to("small"), to("large"))
    make(credential, to("small"), name="single")
    told = [str(loss) for loss in routes.losses(TenantLLM.objects.filter(llm_name="small"))]
    assert told == [
        "The route fast loses 1 of its 2 targets",
        "The route single loses its last target, and answers nobody",
    ]
    tenant_llms.delete([model("small"), model("vectors")], actor=ACTOR)
    events = AuditEvent.objects.filter(action="model.deleted").order_by("id")
    assert [event.detail.get("routes") for event in events] == [["fast", "single"], None]
    assert set(usable(credential)) == {"fast"}
    assert Route.objects.count() == 2


def test_a_route_without_targets_can_be_given_one_again(credential: Credential) -> None:
    route = make(credential)
    tenant_llms.delete([model("small")], actor=ACTOR)
    assert routes.update(route, description="empty now", actor=ACTOR).targets.count() == 0
    routes.update(route, targets=(to("large"),), actor=ACTOR)
    assert set(usable(credential)) == {"fast"}


def test_a_deleted_credential_takes_its_models_out_of_routes(credential: Credential) -> None:
    second = save_credential(credential.tenant, credential.factory, None, base_url="https://there.example/v1")
    serve(second, other="chat")
    make(credential, to("small"), to("other"))
    credentials.delete(second, actor=ACTOR)
    assert AuditEvent.objects.get(action="credential.deleted").detail["routes"] == ["fast"]
    assert len(usable(credential)["fast"].groups[0]) == 1


def test_a_model_that_moves_to_another_key_stays_in_its_routes(credential: Credential) -> None:
    """An edit can move a model to a credential that serves an equal one already: that one takes its place."""
    second = save_credential(credential.tenant, credential.factory, None, base_url="https://there.example/v1")
    serve(second, small="chat", spare="chat")
    old, new = (TenantLLM.objects.get(llm_name="small", credential=one) for one in (credential, second))
    moved = model("large")
    make(credential, TargetPlan(old.pk), TargetPlan(moved.pk, position=2))
    make(credential, TargetPlan(old.pk), TargetPlan(new.pk), name="both")
    drafts.save_untested(
        tenant=credential.tenant,
        factory=credential.factory,
        values={},
        base_url=None,
        models=[plan("small", "chat", moves=old.pk), plan("large", "chat", moves=moved.pk)],
        replaces=second,
        actor=ACTOR,
    )
    assert not TenantLLM.objects.filter(pk=old.pk).exists()
    found = {
        name: [target.tenant_llm_id for group in route.groups for target in group]
        for name, route in usable(credential).items()
    }
    assert found == {"fast": [new.pk, moved.pk], "both": [new.pk]}


def test_a_deleted_tenant_takes_its_routes_along(credential: Credential) -> None:
    make(credential)
    credential.tenant.delete()
    assert not Route.objects.exists()
    assert not RouteTarget.objects.exists()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time")
def test_a_model_that_is_being_deleted_is_given_to_no_route(transactional_db: None) -> None:
    credential = save_credential(make_people().tenant, make_factory(), None, base_url=URL)
    serve(credential, small="chat")
    target = to("small")
    raised = raised_meanwhile(
        lambda: tenant_llms.delete([model("small")], actor=ACTOR), lambda: make(credential, target)
    )
    assert [type(error) for error in raised] == [NotFound]
    assert not Route.objects.exists()
