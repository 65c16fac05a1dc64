"""Services in the admin: who may do what, what is refused, and that no page waits for a runtime or shows a key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job
from runtimes.models import Health, LLMService, ServiceTenant
from runtimes.services import services
from tenants.models import AuditEvent, Tenant
from tests.admin.conftest import KEY
from tests.admin.services import LIST, NETWORKS, form_of, page_of, text_of
from tests.people import make_tenant
from tests.runtimes.fakes.ollama import FakeOllama
from tests.runtimes.making import make_model, make_service

MemberOf = Callable[[str], Client]


# --- Adding and changing ---------------------------------------------------------------------------------------------


def test_a_driver_is_chosen_first_and_tells_what_is_usual(admin: Client) -> None:
    chosen = text_of(admin.get(f"{LIST}add/"))
    assert "?type=ollama" in chosen and "http://127.0.0.1:11434" in chosen
    form = text_of(admin.get(f"{LIST}add/?type=openai"))
    assert "OPENAI_API_KEY" in form and "https://api.openai.com" in form


def test_a_service_is_added_with_its_key_networks_and_audience(admin: Client, tenant: Tenant) -> None:
    given = form_of(key=KEY, audience="some", tenants=[tenant.pk], enable="on", options='{"prices": {}}')
    answer = admin.post(f"{LIST}add/?type=ollama", given)
    service = LLMService.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(service))
    assert (service.name, service.urls, service.allowed_networks) == ("local", ["http://127.0.0.1:9"], [NETWORKS])
    assert (service.is_enabled, service.audience, service.options) == (True, "some", {"prices": {}})
    assert list(service.tenants.values_list("tenant_id", flat=True)) == [tenant.pk]
    assert service.open_secret().reveal(origin="http://127.0.0.1:9") == KEY
    events = set(AuditEvent.objects.filter(target="local").values_list("action", "actor"))
    assert {("service.created", "root"), ("service.enabled", "root")} <= events


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"allowed_networks": "", "enable": "on"}, "Staff can approve the network"),
        ({"allowed_networks": "10.0.0.0/99"}, "is not a network"),
        ({"urls": "ftp://somewhere"}, "Not a base URL"),
        ({"options": '{"prices": {"*": {"input": -1, "output": 0}}}'}, "A price is a number"),
        ({"options": '{"quirks": {"nonsense": 1}}'}, "nonsense"),
        ({"options": "[]"}, "Options are an object"),
        ({"options": "{"}, "Enter a valid JSON"),
        ({"name": "Not A Name"}, "Lower-case letters"),
        ({"api_key_env_var": "FIELD_ENCRYPTION_KEY"}, "holds a secret of this installation"),
        ({"api_key_env_var": "OPENAI_API_KEY"}, "may not be sent to http://127.0.0.1:9."),
        ({"audience": "some"}, "Choose at least one"),
        ({"short_timeout_s": 0}, "greater than or equal to 1"),
        ({"type": "nothing"}, "Select a valid choice"),
    ],
)
def test_refused_input_says_why_on_the_form_and_adds_nothing(
    admin: Client, changes: dict[str, object], said: str
) -> None:
    answer = admin.post(f"{LIST}add/?type=ollama", form_of(**{"key": KEY, **changes}))
    assert answer.status_code == 200
    assert said in text_of(answer)
    assert KEY not in answer.content.decode()
    assert not LLMService.objects.exists() and not AuditEvent.objects.filter(action__startswith="service.").exists()


def test_a_stored_key_stays_when_it_is_left_blank_and_does_not_follow_to_other_urls(
    admin: Client, keyed: LLMService
) -> None:
    assert admin.post(page_of(keyed), form_of(name="renamed")).status_code == 302
    refused = admin.post(page_of(keyed), form_of(urls="http://127.0.0.1:10"))
    assert "The stored key was entered for another address" in text_of(refused)
    keyed.refresh_from_db()
    assert (keyed.name, keyed.urls, keyed.secret_last4) == ("renamed", ["http://127.0.0.1:9"], KEY[-4:])
    assert admin.post(page_of(keyed), form_of(urls="http://127.0.0.1:10", key="sk-other-9876543210")).status_code == 302
    keyed.refresh_from_db()
    assert (keyed.urls, keyed.secret_last4) == (["http://127.0.0.1:10"], "3210")
    assert admin.post(page_of(keyed), form_of(urls="http://127.0.0.1:10", forget_key="on")).status_code == 302
    keyed.refresh_from_db()
    assert keyed.secret is None


def test_addresses_and_networks_change_together(admin: Client, service: LLMService) -> None:
    there = form_of(urls="http://10.1.2.3:9", allowed_networks="10.1.0.0/16")
    assert admin.post(page_of(service), there).status_code == 302
    service.refresh_from_db()
    assert (service.urls, service.allowed_networks) == (["http://10.1.2.3:9"], ["10.1.0.0/16"])
    refused = admin.post(page_of(service), {**there, "allowed_networks": ""})
    assert "may not be called" in text_of(refused)
    service.refresh_from_db()
    assert service.allowed_networks == ["10.1.0.0/16"]


def test_the_audience_is_changed_by_name(admin: Client, service: LLMService, tenant: Tenant) -> None:
    other = make_tenant("Green")
    assert admin.post(page_of(service), form_of(audience="some", tenants=[tenant.pk, other.pk])).status_code == 302
    assert ServiceTenant.objects.filter(service=service).count() == 2
    page = text_of(admin.get(page_of(service)))
    assert "Blue" in page and "Green" in page
    offered = admin.get("/admin/autocomplete/?app_label=tenants&model_name=membership&field_name=tenant&term=Gr")
    assert [one["text"] for one in offered.json()["results"]] == ["Green"]
    assert admin.post(page_of(service), form_of(audience="all")).status_code == 302
    assert not ServiceTenant.objects.exists()


# --- Keys and networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["", "operator", "tenant support", "auditor"])
def test_no_page_shows_a_key(admin: Client, member_of: MemberOf, keyed: LLMService, group: str) -> None:
    model = make_model(keyed, "tiny")
    client = member_of(group) if group else admin
    for url in (LIST, page_of(keyed), f"{LIST}export/", f"/admin/runtimes/servicemodel/{model.pk}/change/"):
        page = client.get(url)
        assert page.status_code == 200, url
        assert KEY not in page.content.decode()
    assert f"•••• {KEY[-4:]}" in text_of(client.get(page_of(keyed)))
    assert KEY not in json.dumps(list(AuditEvent.objects.values_list("detail", flat=True)))


@pytest.fixture
def hanging() -> Iterator[FakeOllama]:
    async def silent(request: Any) -> Any:
        raise AssertionError("a page asked the runtime")

    with FakeOllama() as runtime:
        for path in ("/api/version", "/api/tags", "/api/ps"):
            runtime.behave("GET", path, silent)
        yield runtime


def test_no_page_and_no_button_asks_the_runtime(admin: Client, hanging: FakeOllama) -> None:
    service = make_service(hanging.url)
    model = make_model(service, "tiny")
    stem = f"{LIST}{service.pk}"
    for url in (
        *("/admin/", LIST, f"{LIST}capabilities/", f"{LIST}export/", f"{LIST}live/?keys={service.pk}:health"),
        *(f"{stem}/change/", f"{stem}/page/live/?keys=head,models", f"{stem}/fetch/install/", f"{stem}/delete/"),
        *("/admin/runtimes/servicemodel/", f"/admin/runtimes/servicemodel/{model.pk}/change/"),
    ):
        assert admin.get(url).status_code == 200, url
    for name in ("test_now", "refresh_models"):
        assert admin.post(f"{stem}/do/{name}/").status_code == 302
    assert admin.post(f"{stem}/models/", {"do": f"delete:{model.pk}"}).status_code == 302
    assert admin.post(page_of(service), form_of(urls=hanging.url)).status_code == 302
    assert hanging.requests == []


# --- Who may do what -------------------------------------------------------------------------------------------------


def test_support_tests_and_manages_models_and_changes_no_service(member_of: MemberOf, service: LLMService) -> None:
    model = make_model(service, "tiny", state="not loaded")
    client, stem = member_of("tenant support"), f"{LIST}{service.pk}"
    page = client.get(page_of(service)).content.decode()
    assert 'name="key"' not in page and 'name="urls"' not in page and f'value="load:{model.pk}"' in page
    assert client.post(f"{stem}/do/test_now/").status_code == 302
    assert client.post(f"{stem}/models/", {"do": f"load:{model.pk}"}).status_code == 302
    assert set(Job.objects.values_list("type", flat=True)) == {"service_check", "llm_model_ops:load"}
    for url, given in (
        (page_of(service), form_of()),
        (f"{stem}/do/switch_off/", {}),
        (f"{stem}/do/make_default/", {}),
        (f"{stem}/delete/", {"post": "yes"}),
        (f"{LIST}add/", form_of(name="another")),
        (f"{LIST}import/", {"review": "", "text": "llm: {}"}),
        (f"{LIST}defaults/", {"temperature": 1}),
    ):
        assert client.post(url, given).status_code == 403, url
    assert client.get(f"{LIST}add/").status_code == 403
    client.post(LIST, {"action": "disable", "_selected_action": [service.pk]})
    assert LLMService.objects.get().is_enabled


def test_an_auditor_looks_and_does_nothing(member_of: MemberOf, service: LLMService) -> None:
    model = make_model(service, "tiny", state="not loaded")
    client, stem = member_of("auditor"), f"{LIST}{service.pk}"
    page = client.get(page_of(service))
    assert page.status_code == 200 and f'value="load:{model.pk}"' not in page.content.decode()
    for url, given in (
        (f"{stem}/do/test_now/", {}),
        (f"{stem}/do/switch_off/", {}),
        (f"{stem}/models/", {"do": f"load:{model.pk}"}),
        (f"{stem}/fetch/install/", {"model_name": "tiny"}),
        (f"/admin/runtimes/servicemodel/{model.pk}/do/load/", {}),
        (f"{LIST}import/", {"review": "", "text": "llm: {}"}),
    ):
        assert client.post(url, given).status_code == 403, url
    client.post(LIST, {"action": "test_selected", "_selected_action": [service.pk]})
    assert not Job.objects.exists() and LLMService.objects.get().is_enabled


def test_who_has_nothing_to_do_with_services_sees_none(
    member_of: MemberOf, client: Client, service: LLMService
) -> None:
    curator, stem = member_of("curator"), f"{LIST}{service.pk}"
    for url in (LIST, f"{stem}/change/", f"{stem}/page/live/?keys=head", f"{LIST}live/?keys={service.pk}:health",
                f"{LIST}capabilities/", f"{LIST}export/", f"{stem}/fetch/install/",
                "/admin/runtimes/servicemodel/"):  # fmt: skip
        assert curator.get(url).status_code == 403, url
        assert client.get(url).status_code == 302, url
    assert curator.post(f"{stem}/models/", {"do": "load:1"}).status_code == 403
    assert "Services" not in curator.get("/admin/").content.decode()


def test_an_operator_does_it_all(member_of: MemberOf) -> None:
    client = member_of("operator")
    assert client.post(f"{LIST}add/?type=ollama", form_of(enable="on")).status_code == 302
    service = LLMService.objects.get()
    assert (service.is_enabled, service.allowed_networks) == (True, [NETWORKS])
    assert client.get(f"{LIST}import/").status_code == 200
    assert client.post(f"{LIST}{service.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not LLMService.objects.exists()


def test_networks_are_for_who_may_approve_them(
    member_of: MemberOf, client_of: Callable[[Any], Client], service: LLMService
) -> None:
    from django.contrib.auth.models import Permission

    from tests.people import make_user

    user = make_user("setter", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_llmservice", "change_llmservice"]))
    client = client_of(user)
    page = client.get(page_of(service)).content.decode()
    assert 'name="allowed_networks"' not in page and NETWORKS in page
    assert client.post(page_of(service), form_of(allowed_networks="10.0.0.0/8", name="mine")).status_code == 302
    service.refresh_from_db()
    assert (service.name, service.allowed_networks) == ("mine", [NETWORKS])
    assert client.get(f"{LIST}import/").status_code == 403


def test_what_is_not_there_is_not_found(admin: Client, service: LLMService) -> None:
    stranger = make_model(make_service("http://127.0.0.1:10"), "elsewhere")
    stem = f"{LIST}{service.pk}"
    assert admin.get(f"{LIST}nothing/page/live/?keys=head").status_code == 404
    assert admin.get(f"{stem}/fetch/delete/").status_code == 404
    assert admin.post(f"{stem}/do/nothing/").status_code == 404
    for do in (f"load:{stranger.pk}", "load:x", "install:1", "", f"drop:{stranger.pk}"):
        assert admin.post(f"{stem}/models/", {"do": do}).status_code == 404, do
    assert admin.get(f"{stem}/models/").status_code == 405
    assert admin.get(f"{stem}/do/switch_off/").status_code == 405


# --- The list --------------------------------------------------------------------------------------------------------


def test_the_list_tells_how_services_are_and_why(admin: Client, service: LLMService) -> None:
    LLMService.objects.filter(pk=service.pk).update(
        health=Health.DOWN, error={"message": "Nobody answers.", "hint": "Start it."}
    )
    make_service("http://127.0.0.1:11", name="found-one", is_enabled=False, found_at=now())
    page = text_of(admin.get(LIST))
    assert "Nobody answers. Start it." in page and "Down" in page
    assert f'formaction="{LIST}{LLMService.objects.get(name="found-one").pk}/do/switch_on/"' in page
    for query, names in (
        ("health__exact=down", {"ollama"}), ("found=yes", {"found-one"}), ("type=ollama", {"ollama", "found-one"}),
        ("type=vllm", set()), ("is_enabled__exact=1", {"ollama"}), ("q=found", {"found-one"}),
    ):  # fmt: skip
        rows = re.findall(r'<a href="/admin/runtimes/llmservice/\w+/change/[^"]*"[^>]*>\s*([\w-]+)',
                          admin.get(f"{LIST}?{query}").content.decode())  # fmt: skip
        assert set(rows) == names, query
    live = admin.get(f"{LIST}live/?keys={service.pk}:health,{service.pk}:latency,{service.pk}:secret,x:health").json()
    assert set(live["items"]) == {f"{service.pk}:health", f"{service.pk}:latency"}
    assert "Down" in live["items"][f"{service.pk}:health"]["html"]


def test_what_was_found_is_enabled_with_one_button(admin: Client) -> None:
    service = make_service("http://127.0.0.1:9", is_enabled=False, found_at=now())
    assert admin.post(f"{LIST}{service.pk}/do/switch_on/").status_code == 302
    service.refresh_from_db()
    assert (service.is_enabled, service.found_at) == (True, None)


def test_what_may_not_be_called_is_not_enabled_and_says_why(admin: Client, service: LLMService) -> None:
    blocked = make_service("http://192.168.7.7:9", name="blocked", is_enabled=False)
    page = text_of(admin.get(page_of(blocked)))
    assert "http://192.168.7.7:9 may not be called" in page
    services.disable(service_id=service.pk, actor=SYSTEM)
    answer = admin.post(LIST, {"action": "enable", "_selected_action": [service.pk, blocked.pk]}, follow=True)
    assert "blocked: http://192.168.7.7:9 may not be called" in text_of(answer) and "1 enabled." in text_of(answer)
    assert dict(LLMService.objects.values_list("name", "is_enabled")) == {"ollama": True, "blocked": False}


def test_many_are_tested_refreshed_and_disabled_at_once(admin: Client, service: LLMService) -> None:
    other = make_service("http://127.0.0.1:10")
    for action in ("test_selected", "refresh_selected", "disable"):
        admin.post(LIST, {"action": action, "_selected_action": [service.pk, other.pk]})
    kinds = sorted(Job.objects.values_list("type", "params__service_name"))
    names = sorted([service.name, other.name])
    assert kinds == [(kind, name) for kind in ("llm_model_ops:refresh", "service_check") for name in names]
    assert not LLMService.objects.enabled().exists()
