"""The one door: a stranger's row does not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.audit import Actor
from core.errors import Forbidden, NotFound
from core.principal import Principal
from providers.models import LLMFactory
from tenants import access
from tenants.models import ApiToken, Membership, TenantLLM
from tests.people import People, make_token, principal_of
from tests.tenants.setting import make_factory, save_credential, serve

Fetch = Callable[..., Any]


@pytest.fixture
def rows(people: People) -> dict[Fetch, Any]:
    """One row of each kind that the tenant owns, by the function that fetches it."""
    factory: LLMFactory = make_factory()
    credential = save_credential(people.tenant, factory, None, base_url="https://here.example/v1")
    serve(credential, one="chat")
    make_token(people.tenant, user=people.owner)
    return {
        access.credential: credential,
        access.tenant_llm: TenantLLM.objects.get(),
        access.token: ApiToken.objects.get(),
        access.membership: Membership.objects.get(user=people.member),
    }


def test_owner_and_member_find_what_the_outsider_does_not(people: People, rows: dict[Fetch, Any]) -> None:
    owner, member = principal_of(people.owner, people.tenant), principal_of(people.member, people.tenant)
    outsider = principal_of(people.outsider, people.elsewhere)
    for fetch, row in rows.items():
        assert fetch(owner, row.pk) == row
        assert fetch(member, row.pk) == row
        with pytest.raises(NotFound):
            fetch(outsider, row.pk)


def test_member_may_not_fetch_for_writing(people: People, rows: dict[Fetch, Any]) -> None:
    member = principal_of(people.member, people.tenant)
    for fetch, row in rows.items():
        with pytest.raises(Forbidden):
            fetch(member, row.pk, scope="write")


@pytest.mark.parametrize("pk", ["", "nothing", "0" * 32, 10**30, None, -1, "1; drop table", "\x00"])
def test_nonsense_ids_are_not_found(people: People, rows: dict[Fetch, Any], pk: object) -> None:
    owner = principal_of(people.owner, people.tenant)
    for fetch in rows:
        with pytest.raises(NotFound):
            fetch(owner, pk)


def test_token_without_the_scope_is_refused_before_anything_is_looked_up(
    people: People, rows: dict[Fetch, Any]
) -> None:
    blind = Principal(Actor(token_id="t"), people.tenant.pk, "owner", frozenset({"invoke"}))
    for fetch in rows:
        with pytest.raises(Forbidden):
            fetch(blind, "anything")


def test_caller_without_a_tenant_finds_nothing(people: People, rows: dict[Fetch, Any]) -> None:
    nobody = Principal(Actor(user_id=1), "", "owner", frozenset({"read", "write"}))
    assert not access.audit_events(nobody).exists()
    assert not access.credentials(nobody).exists()
    with pytest.raises(NotFound):
        access.tenant(nobody)
