"""Every endpoint, asked by everybody: the list of endpoints is read from the router, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.api.world import World, bearer, session
from tests.people import make_token, make_user

pytestmark = [pytest.mark.once, pytest.mark.django_db]

PUBLIC = {"api-schema", "api-docs"}
CATALOGUE = {"factory", "model", "job-type", "job-group"}  # belongs to no tenant: everybody who is known may read it
MANAGERS_ONLY = {"audit-event"}
STAFF_ONLY = {"service"}  # belongs to no tenant, and no role in one opens it

ROW: dict[str, Callable[[World], Any]] = {
    "audit-event": lambda world: world.event.pk,
    "budget": lambda world: world.budget.pk,
    "credential": lambda world: world.credential.pk,
    "factory": lambda world: world.factory.pk,
    "job": lambda world: world.job.pk,
    "job-group": lambda world: "credentials",
    "job-type": lambda world: "probe",
    "member": lambda world: world.membership.pk,
    "model": lambda world: world.llm.pk,
    "probe": lambda world: world.probe.pk,
    "rate-limit": lambda world: world.rate_limit.pk,
    "route": lambda world: world.route.pk,
    "service": lambda world: "01a1fb7cee997ffbb5b7f6fb6d994136",
    "tenant": lambda world: world.tenant.pk,
    "tenant-model": lambda world: world.tenant_llm.pk,
    "token": lambda world: world.token.pk,
    "usage-record": lambda world: world.usage_record.pk,
    "usage-summary": lambda world: world.tenant.pk,
}
BODY: dict[tuple[str, str], Callable[[World], dict[str, Any]]] = {
    ("service-list", "post"): lambda world: {"name": "den", "type": "ollama"},
    ("service-detail", "patch"): lambda world: {"description": "Under a desk"},
    ("service-enable", "post"): lambda world: {},
    ("service-disable", "post"): lambda world: {},
    ("service-networks", "post"): lambda world: {"networks": []},
    ("service-audience", "post"): lambda world: {"audience": "all"},
    ("service-default", "post"): lambda world: {},
    ("tenant-list", "post"): lambda world: {"name": "Another"},
    ("tenant-detail", "patch"): lambda world: {"name": "Renamed"},
    ("member-list", "post"): lambda world: {"username": make_user().username, "role": "member"},
    ("member-detail", "patch"): lambda world: {"role": "admin"},
    ("token-list", "post"): lambda world: {"name": "App", "scopes": ["read"]},
    ("credential-list", "post"): lambda world: {
        "factory": "Vendor", "values": {"api_key": "sk-another-one"}, "label": "second", "test": False,
    },
    ("credential-detail", "patch"): lambda world: {"label": "renamed"},
    ("credential-test", "post"): lambda world: {},
    ("credential-discover", "post"): lambda world: {},
    ("credential-adopt", "post"): lambda world: {"models": [{"llm_name": "gpt-new"}], "test": False},
    ("tenant-model-list", "post"): lambda world: {
        "credential": world.credential.pk, "llm_name": "new", "model_types": ["chat"],
    },
    ("tenant-model-detail", "patch"): lambda world: {"status": "0"},
    ("route-list", "post"): lambda world: {
        "name": "slow", "model_type": "chat", "targets": [{"tenant_model": str(world.tenant_llm.pk)}],
    },
    ("route-detail", "patch"): lambda world: {"name": "faster"},
    ("rate-limit-list", "post"): lambda world: {"parallel": 5},
    ("rate-limit-detail", "patch"): lambda world: {"parallel": 7},
    ("budget-list", "post"): lambda world: {"amount": "9.50"},
    ("budget-detail", "patch"): lambda world: {"amount": "12"},
    ("job-list", "post"): lambda world: {"type": "add", "params": {"numbers": [1]}},
    ("job-cancel", "post"): lambda world: {},
    ("job-suspend", "post"): lambda world: {},
    ("job-resume", "post"): lambda world: {},
    ("job-retry", "post"): lambda world: {},
}  # fmt: skip
SUCCESS = {
    ("credential-test", "post"): 202, ("credential-discover", "post"): 202, ("credential-adopt", "post"): 200,
    ("job-list", "post"): 202, ("job-cancel", "post"): 200, ("job-retry", "post"): 200,
    ("job-suspend", "post"): 409, ("job-resume", "post"): 409,  # it is over
}  # fmt: skip


def endpoints() -> Iterator[tuple[str, str]]:
    """(name, method) of all that is served under /api/, but for the classic door."""
    for outer in get_resolver().url_patterns:
        if isinstance(outer, URLResolver) and str(outer.pattern) == "api/":
            yield from _inside(outer)


def _inside(resolver: URLResolver) -> Iterator[tuple[str, str]]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from _inside(entry)
        elif isinstance(entry, URLPattern) and entry.name not in PUBLIC:
            for method in entry.callback.actions:
                yield str(entry.name), method


ENDPOINTS = sorted(endpoints())
ASKED = [one for one in ENDPOINTS if one[0] != "langfuse"]  # which calls another server: tests/tenants/test_langfuse.py


def resource(name: str) -> str:
    return name.rpartition("-")[0]


def ask(client: Client, world: World, name: str, method: str) -> Any:
    on_row = not name.endswith("-list") and name != "me"
    path = reverse(name, args=[ROW[resource(name)](world)] if on_row else [])
    body = BODY[name, method](world) if method in ("post", "patch", "put") else None
    send = getattr(client, method)
    if body is None:
        return send(path)
    return send(path, body, content_type="application/json", headers={"Prefer": "respond-async"})


def success(name: str, method: str) -> int:
    usual = {"get": 200, "post": 201, "patch": 200, "delete": 204}[method]
    return SUCCESS.get((name, method), usual)


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_the_owner_may(world: World, name: str, method: str) -> None:
    answer = ask(session(world.people.owner), world, name, method)
    expected = 403 if resource(name) in STAFF_ONLY else success(name, method)
    assert answer.status_code == expected, answer.content


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_a_member_may_look(world: World, name: str, method: str) -> None:
    before = world.owned()
    answer = ask(session(world.people.member), world, name, method)
    may = method == "get" and resource(name) not in MANAGERS_ONLY | STAFF_ONLY
    own = (name, method) == ("tenant-list", "post")  # a tenant of their own, which is not this one
    assert answer.status_code == (success(name, method) if may or own else 403), answer.content
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_a_token_for_reading_changes_nothing(world: World, name: str, method: str) -> None:
    client = bearer(make_token(world.tenant, scopes=["read"], user=world.people.owner))
    before = world.owned()
    answer = ask(client, world, name, method)
    may = method == "get" and resource(name) not in MANAGERS_ONLY | STAFF_ONLY
    assert answer.status_code == (200 if may else 403), answer.content
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_a_token_for_calling_models_sees_nothing(world: World, name: str, method: str) -> None:
    client = bearer(make_token(world.tenant, scopes=["invoke"], user=world.people.owner))
    before = world.owned()
    open_to_all = resource(name) in CATALOGUE or name == "me"
    assert ask(client, world, name, method).status_code == (200 if open_to_all else 403)
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_nobody_may(world: World, name: str, method: str) -> None:
    before = world.owned()
    answer = ask(Client(), world, name, method)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_an_outsider_finds_nothing(world: World, name: str, method: str) -> None:
    """Not even that it exists: what is another tenant's answers like what is not there at all."""
    client = session(world.people.outsider)
    before = world.owned()
    answer = ask(client, world, name, method)
    if resource(name) in CATALOGUE or name == "me":
        assert answer.status_code == 200
    elif resource(name) in STAFF_ONLY:
        assert answer.status_code == 403
    elif name.endswith("-list") and method == "get":
        assert answer.status_code == 200
        assert str(ROW[resource(name)](world)) not in [row["id"] for row in answer.json()["results"]]
    elif name.endswith("-list") and name not in ("tenant-model-list", "route-list"):
        assert answer.status_code == success(name, method)  # theirs, in their own tenant
    else:
        assert answer.status_code == 404, answer.content
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), ASKED)
def test_an_outsider_gains_nothing_by_naming_the_tenant(world: World, name: str, method: str) -> None:
    client = session(world.people.outsider)
    client.defaults["HTTP_X_TENANT_ID"] = world.tenant.pk
    before = world.owned()
    assert ask(client, world, name, method).status_code == 404
    assert world.owned() == before


@pytest.mark.parametrize(("name", "method"), [endpoint for endpoint in ASKED if endpoint[1] != "get"])
def test_the_token_of_somebody_demoted_changes_nothing(world: World, name: str, method: str) -> None:
    client = bearer(make_token(world.tenant, user=world.people.owner))
    world.tenant.memberships.filter(user=world.people.owner).update(role="member")
    before = world.owned()
    assert ask(client, world, name, method).status_code == 403
    assert world.owned() == before
