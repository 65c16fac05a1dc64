"""Members: always an owner, and only owners touch owners."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from core.audit import SYSTEM
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from tenants.models import AuditEvent, Membership, Role
from tenants.services import members, tokens
from tests.people import People, actor_of, make_token, make_user

pytestmark = pytest.mark.django_db


def membership(people: People, user: User) -> Membership:
    return Membership.objects.get(tenant=people.tenant, user=user)


def test_a_manager_lets_somebody_in_once(people: People) -> None:
    friend = make_user()
    added = members.add(tenant=people.tenant, user=friend, role="member", actor=actor_of(people.admin))
    assert added.role == Role.MEMBER
    with pytest.raises(Conflict):
        members.add(tenant=people.tenant, user=friend, role="admin", actor=actor_of(people.admin))
    assert membership(people, friend).role == Role.MEMBER
    assert AuditEvent.objects.filter(tenant_id=people.tenant.pk, action="member.added").count() == 1


def test_members_and_strangers_let_nobody_in(people: People) -> None:
    for user in (people.member, people.outsider):
        with pytest.raises(Forbidden):
            members.add(tenant=people.tenant, user=make_user(), role="member", actor=actor_of(user))


def test_an_admin_raises_nobody_to_owner_not_even_himself(people: People) -> None:
    admin = actor_of(people.admin)
    with pytest.raises(Forbidden):
        members.add(tenant=people.tenant, user=make_user(), role="owner", actor=admin)
    for user in (people.admin, people.member):
        with pytest.raises(Forbidden):
            members.set_role(membership(people, user), role="owner", actor=admin)


def test_an_admin_touches_no_owner(people: People) -> None:
    with pytest.raises(Forbidden):
        members.set_role(membership(people, people.owner), role="member", actor=actor_of(people.admin))
    with pytest.raises(Forbidden):
        members.remove(membership(people, people.owner), actor=actor_of(people.admin))


def test_the_last_owner_stays(people: People) -> None:
    owner = actor_of(people.owner)
    with pytest.raises(Conflict):
        members.set_role(membership(people, people.owner), role="admin", actor=owner)
    with pytest.raises(Conflict):
        members.remove(membership(people, people.owner), actor=SYSTEM)
    members.set_role(membership(people, people.admin), role="owner", actor=owner)
    members.remove(membership(people, people.owner), actor=owner)
    assert not Membership.objects.filter(tenant=people.tenant, user=people.owner).exists()


def test_roles_are_known_ones(people: People) -> None:
    with pytest.raises(InvalidInput):
        members.set_role(membership(people, people.member), role="god", actor=actor_of(people.owner))


def test_a_member_who_is_gone_is_not_found(people: People) -> None:
    row = membership(people, people.member)
    members.remove(row, actor=actor_of(people.admin))
    with pytest.raises(NotFound):
        members.set_role(row, role="admin", actor=actor_of(people.owner))


def test_setting_the_same_role_changes_and_records_nothing(people: People) -> None:
    members.set_role(membership(people, people.owner), role="owner", actor=actor_of(people.owner))
    assert not AuditEvent.objects.filter(action="member.role_changed").exists()


def test_staff_who_manage_members_act_as_owners_but_their_tokens_do_not(people: People) -> None:
    staff = make_user(is_staff=True)
    rights = Permission.objects.filter(codename__in=["change_membership", "add_apitoken"])
    staff.user_permissions.set(rights)
    members.set_role(membership(people, people.member), role="owner", actor=actor_of(staff))
    token, _ = tokens.create(tenant=people.tenant, name="x", scopes=["write"], actor=actor_of(staff))
    with_token = tokens.principal(token).actor
    with pytest.raises(Forbidden):
        members.set_role(membership(people, people.admin), role="owner", actor=with_token)


@pytest.mark.parametrize("who", ["member", "admin"])
def test_anybody_may_leave_by_themselves(people: People, who: str) -> None:
    user = getattr(people, who)
    own = Membership.objects.get(tenant=people.tenant, user=user)
    other = Membership.objects.get(tenant=people.tenant, user=people.owner)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.delete(f"/api/members/{other.pk}/").status_code == 403
    assert client.delete(f"/api/members/{own.pk}/").status_code == 204
    assert not Membership.objects.filter(pk=own.pk).exists()


def test_token_does_not_leave_for_its_maker(people: People) -> None:
    plain = make_token(people.tenant, user=people.member)
    own = Membership.objects.get(tenant=people.tenant, user=people.member)
    answer = Client().delete(f"/api/members/{own.pk}/", headers={"Authorization": plain})
    assert answer.status_code == 403
    assert Membership.objects.filter(pk=own.pk).exists()


def test_last_owner_cannot_leave(people: People) -> None:
    with pytest.raises(Conflict):
        members.remove(Membership.objects.get(tenant=people.tenant, user=people.owner), actor=actor_of(people.owner))
