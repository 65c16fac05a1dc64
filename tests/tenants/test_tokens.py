"""Tokens: shown once, kept as a digest, never more than their maker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission

from core.audit import SYSTEM, Actor
from core.clock import now
from core.errors import Forbidden, InvalidInput
from tenants.models import ApiToken, Membership, Role, Tenant
from tenants.services import tokens
from tests.people import People, actor_of, make_user

pytestmark = pytest.mark.django_db


def created(people: People, *scopes: str) -> tuple[ApiToken, str]:
    wanted = list(scopes or ("read", "write", "invoke"))
    return tokens.create(tenant=people.tenant, name="App", scopes=wanted, actor=actor_of(people.owner))


def acting(token: ApiToken, user_id: int) -> Actor:
    return Actor(user_id=user_id, token_id=token.pk, label="token")


def test_a_new_token_is_known_by_its_plain_text_and_the_row_has_only_a_digest(people: People) -> None:
    token, plain = created(people)
    assert plain.startswith("lla_")
    assert len(plain) == 47
    assert plain not in repr(ApiToken.objects.filter(pk=token.pk).values().get())
    found = tokens.authenticate(plain)
    assert found == token
    assert found.tenant == people.tenant


@pytest.mark.parametrize("change", ["x", "", "lla_", "lla_" + "a" * 43, "lla_" + "é" * 43, "\x00" * 47])
def test_nothing_else_is_a_token(people: People, change: str) -> None:
    created(people)
    assert tokens.authenticate(change) is None


def test_a_prefix_of_a_token_is_not_the_token(people: People) -> None:
    _, plain = created(people)
    assert tokens.authenticate(plain[:-1]) is None
    assert tokens.authenticate(plain[:-1] + ("A" if plain[-1] != "A" else "B")) is None


def test_an_expired_token_is_unusable(people: People) -> None:
    token, plain = created(people)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=now() - timedelta(seconds=1))
    assert tokens.authenticate(plain) is None


def test_a_revoked_token_is_unusable_and_keeps_the_first_date(people: People) -> None:
    token, plain = created(people)
    tokens.revoke(token, actor=actor_of(people.owner))
    first = ApiToken.objects.get(pk=token.pk).revoked_at
    tokens.revoke(ApiToken.objects.get(pk=token.pk), actor=actor_of(people.owner))
    assert tokens.authenticate(plain) is None
    assert ApiToken.objects.get(pk=token.pk).revoked_at == first


def test_a_token_ends_with_its_makers_account_and_with_its_tenant(people: People) -> None:
    _, plain = created(people)
    Tenant.objects.filter(pk=people.tenant.pk).update(status="0")
    assert tokens.authenticate(plain) is None
    Tenant.objects.filter(pk=people.tenant.pk).update(status="1")
    assert tokens.authenticate(plain) is not None
    people.owner.is_active = False
    people.owner.save()
    assert tokens.authenticate(plain) is None
    people.owner.delete()
    assert tokens.authenticate(plain) is None


def test_its_use_is_recorded_at_most_once_a_minute(people: People) -> None:
    token, plain = created(people)
    tokens.authenticate(plain)
    first = ApiToken.objects.get(pk=token.pk).last_used_at
    tokens.authenticate(plain)
    assert first is not None
    assert ApiToken.objects.get(pk=token.pk).last_used_at == first
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=now() - timedelta(minutes=2))
    tokens.authenticate(plain)
    assert (ApiToken.objects.get(pk=token.pk).last_used_at or first) >= first


def test_a_token_can_do_what_its_maker_can_do_now(people: People) -> None:
    _, plain = created(people)
    membership = Membership.objects.get(tenant=people.tenant, user=people.owner)
    expected = {Role.OWNER: {"read", "write", "invoke"}, Role.MEMBER: {"read", "invoke"}}
    for role, scopes in expected.items():
        Membership.objects.filter(pk=membership.pk).update(role=role)
        principal = tokens.principal(tokens.authenticate(plain) or pytest.fail("unusable"))
        assert (principal.role, principal.scopes) == (role, scopes)
    membership.delete()
    principal = tokens.principal(tokens.authenticate(plain) or pytest.fail("unusable"))
    assert principal.scopes == frozenset()
    assert not principal.may_write


def test_staff_who_may_make_tokens_make_them_for_any_tenant(people: People) -> None:
    staff = make_user(is_staff=True)
    with pytest.raises(Forbidden):
        tokens.create(tenant=people.tenant, name="x", scopes=["read"], actor=actor_of(staff))
    staff.user_permissions.add(Permission.objects.get(codename="add_apitoken"))
    _, plain = tokens.create(tenant=people.tenant, name="x", scopes=["write"], actor=actor_of(staff))
    assert tokens.principal(tokens.authenticate(plain) or pytest.fail("unusable")).role == "admin"


def test_a_token_made_with_a_token_has_no_more_rights_and_no_longer_life(people: People) -> None:
    parent, _ = created(people, "read", "write")
    end = now() + timedelta(hours=1)
    ApiToken.objects.filter(pk=parent.pk).update(expires_at=end)
    maker = acting(parent, people.owner.pk)
    with pytest.raises(Forbidden, match="invoke"):
        tokens.create(tenant=people.tenant, name="x", scopes=["read", "invoke"], actor=maker)
    later = now() + timedelta(days=1)
    child, _ = tokens.create(tenant=people.tenant, name="x", scopes=["read"], expires_at=later, actor=maker)
    assert child.expires_at == end
    child, _ = tokens.create(tenant=people.tenant, name="x", scopes=["read"], actor=maker)
    assert child.expires_at == end


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes"),
        ({"expires_at": now() - timedelta(days=1)}, "expires_at"),
    ],
)
def test_a_token_is_described_correctly(people: People, wrong: dict, field: str) -> None:
    given = {"name": "x", "scopes": ["read"], **wrong}
    with pytest.raises(InvalidInput) as refusal:
        tokens.create(tenant=people.tenant, actor=actor_of(people.owner), **given)
    assert list(refusal.value.fields) == [field]


def test_the_system_has_no_token(people: People) -> None:
    with pytest.raises(InvalidInput):
        tokens.create(tenant=people.tenant, name="x", scopes=["read"], actor=SYSTEM)


def test_tokens_made_with_a_token_end_with_it(people: People) -> None:
    leaked, _ = created(people)
    child, plain = tokens.create(
        tenant=people.tenant, name="Child", scopes=["read"], actor=acting(leaked, people.owner.pk)
    )
    _, deeper = tokens.create(
        tenant=people.tenant, name="Grandchild", scopes=["read"], actor=acting(leaked, people.owner.pk)
    )
    ApiToken.objects.filter(name="Grandchild").update(parent=child)
    _, other = created(people)
    tokens.revoke(leaked, actor=actor_of(people.owner))
    assert tokens.authenticate(plain) is None and tokens.authenticate(deeper) is None
    assert tokens.authenticate(other) is not None


def test_revoked_token_makes_no_other_even_if_its_call_was_under_way(people: People) -> None:
    leaked, _ = created(people)
    tokens.revoke(leaked, actor=actor_of(people.owner))
    with pytest.raises(Forbidden):
        tokens.create(tenant=people.tenant, name="Child", scopes=["read"], actor=acting(leaked, people.owner.pk))
