"""Who belongs to a tenant. It always keeps an owner, and only owners touch owners."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from core import audit
from core.audit import Actor
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from tenants.models import MANAGERS, Membership, Role, Tenant
from tenants.services import routing, tokens


@transaction.atomic
def add(*, tenant: Tenant, user: User, role: str, actor: Actor) -> Membership:
    """Let a user in; Conflict when they are a member already."""
    _known(role)
    _lock(tenant.pk)
    _may_touch(tenant, actor, role)
    membership, created = Membership.objects.get_or_create(tenant=tenant, user=user, defaults={"role": role})
    if not created:
        raise Conflict(f"{user.get_username()} is a member already.", hint="Change the role instead.")
    audit.record("member.added", actor=actor, tenant_id=tenant.pk, target=user.get_username(), role=role)
    return membership


@transaction.atomic
def set_role(membership: Membership, *, role: str, actor: Actor) -> Membership:
    """Change a member's role."""
    _known(role)
    membership = _locked(membership)
    _may_touch(membership.tenant, actor, membership.role, role)
    if membership.role == role:
        return membership
    _keeps_an_owner(membership, becomes=role)
    before, membership.role = membership.role, Role(role)
    membership.save(update_fields=["role"])
    routing.bump(membership.tenant_id)  # what the member's tokens may do follows the role
    audit.record(
        "member.role_changed",
        actor=actor,
        tenant_id=membership.tenant_id,
        target=membership.user.get_username(),
        **{"from": str(before), "to": role},
    )
    return membership


@transaction.atomic
def remove(membership: Membership, *, actor: Actor) -> None:
    """Let a member go; anybody may leave. The tokens they made stay listed, and can do nothing from now on."""
    membership = _locked(membership)
    if not is_own(membership, actor):
        _may_touch(membership.tenant, actor, membership.role)
    _keeps_an_owner(membership, becomes="")
    role, name = str(membership.role), membership.user.get_username()
    membership.delete()
    routing.bump(membership.tenant_id)
    audit.record("member.removed", actor=actor, tenant_id=membership.tenant_id, target=name, role=role)


def is_own(membership: Membership, actor: Actor) -> bool:
    """Whether it is the actor's own membership; a token has none."""
    return membership.user_id == actor.user_id and not actor.token_id


def _known(role: str) -> None:
    if role not in Role.values:
        raise InvalidInput("Unknown role.", fields={"role": [f"One of {', '.join(Role.values)}."]})


def _lock(tenant_id: str) -> None:
    """Changes of one tenant's members happen one after another, so that two cannot each remove the other owner."""
    if Tenant.objects.select_for_update().filter(pk=tenant_id).first() is None:
        raise NotFound("There is no such tenant.")


def _locked(membership: Membership) -> Membership:
    _lock(membership.tenant_id)
    fresh = Membership.objects.select_related("tenant", "user").filter(pk=membership.pk).first()
    if fresh is None:
        raise NotFound("There is no such member.")
    return fresh


def _keeps_an_owner(membership: Membership, *, becomes: str) -> None:
    if membership.role != Role.OWNER or becomes == Role.OWNER:
        return
    if not Membership.objects.filter(tenant=membership.tenant_id, role=Role.OWNER).exclude(pk=membership.pk).exists():
        raise Conflict(
            "A tenant cannot be without an owner.", hint="Make somebody else an owner first.", code="last_owner"
        )


def _may_touch(tenant: Tenant, actor: Actor, *roles: str) -> None:
    """Raise Forbidden unless the actor may give, change or take these roles."""
    own = _role_of(actor, tenant)
    if own not in MANAGERS or (Role.OWNER in roles and own != Role.OWNER):
        raise Forbidden("Only owners may do this to an owner." if own in MANAGERS else "Only managers may do this.")


def _role_of(actor: Actor, tenant: Tenant) -> str:
    """As what the actor acts: the system, and staff who manage members in the admin, as owners of every tenant."""
    if actor.user_id is None:
        return Role.OWNER.value
    user = User.objects.get(pk=actor.user_id)
    if actor.token_id is None and user.is_staff and user.has_perm("tenants.change_membership"):
        return Role.OWNER.value
    return tokens.role_of(user, tenant)
