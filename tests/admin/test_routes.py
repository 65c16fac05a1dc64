"""Routes as staff handle them: made for one tenant, with their targets on the same page."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.audit import SYSTEM
from providers.models import LLMFactory
from runtimes.models import Audience, LLMService, ServiceModel
from tenants.models import AuditEvent, Credential, Route, RouteTarget, Tenant, TenantLLM
from tenants.services import credentials, defaults, routes, tenant_llms
from tenants.services.route_plans import RoutePlan, TargetPlan, plan_of
from tests.admin.conftest import KEY
from tests.people import make_tenant
from tests.runtimes.making import make_model, make_service

LIST = "/admin/tenants/route/"


@pytest.fixture
def small(credential: Credential) -> TenantLLM:
    return tenant_llms.add(credential=credential, llm_name="small", model_types=["chat"], actor=SYSTEM)


@pytest.fixture
def large(credential: Credential) -> TenantLLM:
    return tenant_llms.add(credential=credential, llm_name="large", model_types=["chat"], actor=SYSTEM)


@pytest.fixture
def route(tenant: Tenant, small: TenantLLM) -> Route:
    return routes.create(tenant=tenant, plan=RoutePlan("fast", "chat", [TargetPlan(small.pk)]), actor=SYSTEM)


def page_of(route: Route) -> str:
    return f"{LIST}{route.pk}/change/"


Model = TenantLLM | ServiceModel


def form(*targets: tuple[RouteTarget | None, Model | None, dict[str, Any]], **values: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"name": "fast", "model_type": "chat", "strategy": "ordered", "status": "1", **values}
    data |= {"targets-TOTAL_FORMS": len(targets), "targets-INITIAL_FORMS": sum(1 for row, _, _ in targets if row)}
    for number, (row, model, columns) in enumerate(targets):
        given = {"id": row.pk if row else "", "position": 1, "weight": 1, "status": "1"}
        if model is not None:
            given["tenant_llm" if isinstance(model, TenantLLM) else "service_model"] = model.pk
        data |= {f"targets-{number}-{name}": value for name, value in {**given, **columns}.items()}
    return data


def text_of(answer: Any) -> str:
    return html.unescape(" ".join(answer.content.decode().split()))


def test_a_route_is_made_in_two_steps(admin: Client, tenant: Tenant, small: TenantLLM, large: TenantLLM) -> None:
    assert "Whose applications call it?" in text_of(admin.get(f"{LIST}add/"))
    url = f"{LIST}add/?tenant={tenant.pk}"
    assert 'name="targets-0-tenant_llm"' in admin.get(url).content.decode()
    later = {"position": 2, "weight": 5, "only_on": ["context_length_exceeded", "content_filtered"]}
    answer = admin.post(url, form((None, small, {}), (None, large, later), timeout_s=30))
    assert answer.status_code == 302, text_of(answer)
    made = plan_of(Route.objects.get(tenant=tenant))
    assert (made.name, made.timeout_s, made.max_retries) == ("fast", 30, None)
    assert list(made.targets) == [
        TargetPlan(small.pk),
        TargetPlan(large.pk, 2, 5, ("content_filtered", "context_length_exceeded")),
    ]
    assert AuditEvent.objects.get(action="route.created").actor == "root"


def test_targets_are_changed_added_and_removed_with_their_route(
    admin: Client, route: Route, small: TenantLLM, large: TenantLLM
) -> None:
    row = route.targets.get()
    changed = form((row, small, {"weight": 7}), (None, large, {"position": 3}), description="For the site")
    assert admin.post(page_of(route), changed).status_code == 302
    route.refresh_from_db()
    assert route.description == "For the site"
    assert plan_of(route).targets == (TargetPlan(small.pk, 1, 7), TargetPlan(large.pk, 3))
    first, second = route.targets.all()
    removed = form((first, small, {"DELETE": "on"}), (second, large, {}))
    assert admin.post(page_of(route), removed).status_code == 302
    assert [target.tenant_llm_id for target in route.targets.all()] == [large.pk]
    assert "large@Acme (default)" in text_of(admin.get(page_of(route)))


def test_what_the_service_refuses_is_shown_on_the_form_and_nothing_is_saved(
    admin: Client, route: Route, small: TenantLLM
) -> None:
    row, before = route.targets.get(), plan_of(route)
    for wrong, told in (
        (form((row, small, {}), name="a@b"), "A letter or digit"),
        (form((row, small, {}), name="Acme/small"), "Must not begin with a factory's name"),
        (form((row, small, {}), timeout_s=0), "greater than or equal to 1"),
        (form((row, small, {"weight": 2000})), "less than or equal to 1000"),
        (form((row, small, {"only_on": ["timed_out"]})), "needs a target that calls go to first"),
        (form((row, small, {"DELETE": "on"})), "needs a target that calls go to first"),
        (form((row, small, {}), model_type="embedding"), "Not for embedding: small@Acme"),
    ):
        answer = admin.post(page_of(route), wrong)
        assert (answer.status_code, told in text_of(answer)) == (200, True), told
        assert plan_of(Route.objects.get(pk=route.pk)) == before
    url = f"{LIST}add/?tenant={route.tenant_id}"
    assert "There is a route fast already" in text_of(admin.post(url, form((None, small, {}))))
    assert Route.objects.count() == 1


def test_only_the_tenants_own_models_are_offered_and_taken(
    admin: Client, route: Route, small: TenantLLM, factory: LLMFactory
) -> None:
    other = credentials.create(
        tenant=make_tenant("Red"), factory=factory, values={"api_key": KEY}, label="theirs", actor=SYSTEM
    )
    foreign = tenant_llms.add(credential=other, llm_name="smallest", model_types=["chat"], actor=SYSTEM)
    look = "/admin/autocomplete/?app_label=tenants&model_name=routetarget&field_name=tenant_llm&term=small"
    found = admin.get(f"{look}&tenant={route.tenant_id}").json()["results"]
    assert [one["text"] for one in found] == ["small@Acme (default)"]
    assert len(admin.get(look).json()["results"]) == 2
    assert admin.get(f"{look}&tenant=%00").status_code == 200
    assert f"tenant={route.tenant_id}" in admin.get(page_of(route)).content.decode()
    for url in (page_of(route), f"{LIST}add/?tenant={route.tenant_id}"):
        answer = admin.post(url, form((None, foreign, {}), name="other"))
        assert "Select a valid choice" in text_of(answer)
    assert not RouteTarget.objects.filter(tenant_llm=foreign).exists()


@pytest.fixture
def den() -> LLMService:
    return make_service("http://127.0.0.1:9", name="den", audience=Audience.ALL)


def test_a_services_model_is_offered_to_those_who_may_use_it_and_taken(
    admin: Client, route: Route, small: TenantLLM, den: LLMService
) -> None:
    llama, attic = make_model(den, "llama:8b"), make_service("http://127.0.0.1:9", name="attic", audience=Audience.SOME)
    foreign = make_model(attic, "llama:70b")
    look = "/admin/autocomplete/?app_label=tenants&model_name=routetarget&field_name=service_model&term=llama"
    found = admin.get(f"{look}&tenant={route.tenant_id}").json()["results"]
    assert [one["text"] for one in found] == ["den~llama:8b"]
    assert len(admin.get(look).json()["results"]) == 2
    assert len(admin.get(f"{look.removesuffix('llama')}den~llama").json()["results"]) == 1
    answer = admin.post(page_of(route), form((None, foreign, {}), (route.targets.get(), small, {})))
    assert "Select a valid choice" in text_of(answer)
    both = form((None, llama, {"tenant_llm": small.pk}))
    for wrong in (both, form((None, None, {"position": 2}))):
        assert "Either a model of the tenant, or one of a service." in text_of(admin.post(page_of(route), wrong))
    given = form((route.targets.get(), small, {"position": 2}), (None, llama, {}))
    assert admin.post(page_of(route), given).status_code == 302
    assert plan_of(route).targets == (TargetPlan(service_model="den~llama:8b"), TargetPlan(small.pk, 2))
    assert "den~llama:8b, small@Acme" in text_of(admin.get(LIST))
    for query in ("q=llama", "q=den"):
        assert "1 route" in text_of(admin.get(f"{LIST}?{query}"))


def test_a_route_keeps_a_service_that_was_taken_away_and_says_so(
    admin: Client, route: Route, small: TenantLLM, den: LLMService
) -> None:
    llama = make_model(den, "llama:8b")
    own = route.targets.get()
    routes.update(route, targets=[TargetPlan(small.pk), TargetPlan(service_model=str(llama))], actor=SYSTEM)
    served = route.targets.get(service_model=llama)
    LLMService.objects.update(audience=Audience.NONE)
    assert "its service is disabled or not for this tenant any more" in text_of(admin.get(page_of(route)))
    assert "1 not usable" in text_of(admin.get(LIST))
    given = form((own, small, {}), (served, llama, {"weight": 5}), description="kept")
    assert admin.post(page_of(route), given).status_code == 302
    assert route.targets.get(service_model=llama).weight == 5
    told = text_of(admin.get(f"/admin/runtimes/llmservice/{den.pk}/delete/"))
    assert "The route fast of Blue loses 1 of its 2 targets" in told
    assert "targets of routes: 1" in told.lower()


def test_the_list_says_where_a_route_leads_and_is_narrowed_down(
    admin: Client, tenant: Tenant, route: Route, small: TenantLLM, large: TenantLLM
) -> None:
    plan = RoutePlan("slow", "chat", [TargetPlan(large.pk), TargetPlan(small.pk)], strategy="weighted")
    routes.create(tenant=tenant, plan=plan, actor=SYSTEM)
    tenant_llms.set_status([small], status="0", actor=SYSTEM)
    shown = text_of(admin.get(LIST))
    assert "nowhere" in shown and "1 not usable" in shown
    assert "2 routes" in shown
    for query, count in (
        (f"tenant__id__exact={tenant.pk}", 2),
        ("strategy__exact=weighted", 1),
        ("model_type__exact=embedding", 0),
        ("q=large", 1),
        ("q=small", 2),
        ("q=Blue", 2),
    ):
        assert f"{count} route" in text_of(admin.get(f"{LIST}?{query}")), query
    why = text_of(admin.get(page_of(route)))
    assert "The model, its credential or its factory is disabled or quarantined." in why


def test_deletions_say_what_they_mean_for_routes_and_for_defaults(
    admin: Client, tenant: Tenant, route: Route, small: TenantLLM
) -> None:
    defaults.set_default_models(tenant, values={"llm_id": "fast"}, actor=SYSTEM)
    for url in (
        f"/admin/tenants/tenantllm/{small.pk}/delete/",
        f"/admin/tenants/credential/{small.credential_id}/delete/",
    ):
        assert "The route fast loses its last target, and answers nobody" in text_of(admin.get(url))
    assert "It is Blue's default chat model" in text_of(admin.get(f"{LIST}{route.pk}/delete/"))
    assert "Routes: 1" in text_of(admin.get(f"/admin/tenants/tenant/{tenant.pk}/delete/"))
    assert admin.post(f"/admin/tenants/tenantllm/{small.pk}/delete/", {"post": "yes"}).status_code == 302
    assert Route.objects.get().targets.count() == 0
    assert admin.post(f"{LIST}{route.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Route.objects.exists()
    assert list(AuditEvent.objects.filter(action="route.deleted").values_list("target", flat=True)) == ["fast"]


def test_routes_are_switched_and_deleted_in_bulk(admin: Client, route: Route) -> None:
    chosen = {"_selected_action": [route.pk]}
    admin.post(LIST, {"action": "disable", **chosen})
    assert Route.objects.get().status == "0"
    admin.post(f"{LIST}{route.pk}/do/switch_on/")
    assert Route.objects.get().status == "1"
    admin.post(LIST, {"action": "delete_selected", "post": "yes", **chosen})
    assert not Route.objects.exists()


def test_routes_and_services_models_are_among_the_default_models(
    admin: Client, tenant: Tenant, route: Route, den: LLMService
) -> None:
    make_model(den, "llama:8b", model_types=["chat", "image2text"])
    make_model(make_service("http://127.0.0.1:9", name="attic", audience=Audience.NONE), "llama:8b")
    page = admin.get(f"/admin/tenants/tenant/{tenant.pk}/change/").content.decode()
    assert page.count('<option value="fast"') == 1
    assert page.count('<option value="den~llama:8b"') == 2
    assert "attic~" not in page


def test_support_switches_routes_and_auditors_look(
    member_of: Callable[[str], Client], route: Route, small: TenantLLM
) -> None:
    changed = form((route.targets.get(), small, {"weight": 9}))
    for group, may_switch in (("tenant support", True), ("auditor", False)):
        client = member_of(group)
        page = text_of(client.get(page_of(route)))
        assert "small@Acme (default)" in page
        assert 'name="targets-0-weight"' not in page
        assert client.post(page_of(route), changed).status_code == 403
        assert client.get(f"{LIST}add/").status_code == 403
        assert client.post(f"{LIST}{route.pk}/do/switch_off/").status_code == (302 if may_switch else 403)
        assert Route.objects.get().status == ("0" if may_switch else "1")
        Route.objects.update(status="1")
    assert member_of("curator").get(page_of(route)).status_code == 403
    assert route.targets.get().weight == 1


def test_a_page_of_many_targets_takes_few_queries(admin: Client, tenant: Tenant, credential: Credential) -> None:
    models = [
        tenant_llms.add(credential=credential, llm_name=f"m-{number}", model_types=["chat"], actor=SYSTEM)
        for number in range(30)
    ]
    plan = RoutePlan("wide", "chat", [TargetPlan(model.pk) for model in models])
    route = routes.create(tenant=tenant, plan=plan, actor=SYSTEM)
    admin.get(page_of(route))
    with CaptureQueriesContext(connection) as queries:
        assert admin.get(page_of(route)).status_code == 200
    assert len(queries) <= 12 + len(models), "\n".join(query["sql"] for query in queries)


def test_a_token_is_made_for_some_models_only(admin: Client, tenant: Tenant) -> None:
    data = {"tenant": tenant.pk, "name": "ci", "scopes": ["invoke"], "expires_at_0": "", "expires_at_1": ""}
    answer = admin.post("/admin/tenants/apitoken/add/", {**data, "models": "*@Acme\r\n\r\n fast \r\n"})
    assert "*@Acme, fast" in text_of(answer)
    token = tenant.api_tokens.get()
    assert token.allowed_models == ["*@Acme", "fast"]
    assert "*@Acme, fast" in text_of(admin.get(f"/admin/tenants/apitoken/{token.pk}/change/"))
    wrong = admin.post("/admin/tenants/apitoken/add/", {**data, "models": "x" * 301})
    assert "Each a name or pattern" in text_of(wrong)
