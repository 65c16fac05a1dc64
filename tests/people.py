"""Users, tenants and tokens for tests."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User

from core.audit import Actor
from core.principal import ALL_SCOPES, Principal
from tenants.models import SCOPES, ApiToken, Membership, Role, Tenant

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def make_user(username: str = "", *, is_staff: bool = False, is_superuser: bool = False) -> User:
    """A user who can log in with PASSWORD."""
    username = username or f"user{next(_numbers)}"
    user = User(username=username, email=f"{username}@example.com", is_staff=is_staff, is_superuser=is_superuser)
    user.set_password(PASSWORD)
    user.save()
    return user


def make_tenant(name: str = "", *, owner: User | None = None) -> Tenant:
    tenant = Tenant.objects.create(name=name or f"Tenant {next(_numbers)}")
    if owner is not None:
        Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER, founding=True)
    return tenant


def make_member(tenant: Tenant, *, role: Role = Role.MEMBER, user: User | None = None) -> User:
    """A user with that role in the tenant."""
    user = user or make_user()
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


def make_token(tenant: Tenant, *, scopes: Iterable[str] = tuple(SCOPES), user: User | None = None) -> str:
    """The text of a new API token of the tenant."""
    text = f"lla_{secrets.token_urlsafe(32)}"
    ApiToken.objects.create(
        tenant=tenant,
        name=f"token {next(_numbers)}",
        prefix=text[:12],
        digest=hashlib.sha256(text.encode()).hexdigest(),
        scopes=list(scopes),
        created_by=user,
    )
    return text


def actor_of(user: User) -> Actor:
    return Actor(user_id=user.pk, label=user.get_username())


def principal_of(user: User, tenant: Tenant) -> Principal:
    """What a request of this user to this tenant carries."""
    role = Membership.objects.get(tenant=tenant, user=user).role
    return Principal(actor_of(user), tenant.id, role, ALL_SCOPES, user.is_staff)


@dataclass(frozen=True)
class People:
    """One tenant with everybody in it, and a stranger who owns another one."""

    tenant: Tenant
    owner: User
    admin: User
    member: User
    elsewhere: Tenant
    outsider: User


def make_people() -> People:
    owner, outsider = make_user(), make_user()
    tenant, elsewhere = make_tenant(owner=owner), make_tenant(owner=outsider)
    admin, member = make_member(tenant, role=Role.ADMIN), make_member(tenant)
    return People(tenant, owner, admin, member, elsewhere, outsider)
