"""What applications show to our API: made, presented, revoked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import cast

from django.contrib.auth.models import AbstractBaseUser, User
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Forbidden, InvalidInput
from core.principal import ALL_SCOPES, MANAGER_ROLES, Principal
from providers.models import VALID
from tenants.models import SCOPES, ApiToken, Membership, Role, Tenant
from tenants.services import routing
from tenants.services.names import clean_name

PREFIX = "lla_"
_PLAIN_LENGTH = len(PREFIX) + 43  # 256 random bits in URL-safe base64
_USE_RECORDED_EVERY = timedelta(minutes=1)
_MEMBER_SCOPES = frozenset({"read", "invoke"})
MAX_PATTERNS, MAX_PATTERN = 100, 300


def digest(plain: str) -> str:
    """By which a token is found: the whole SHA-256, never a part of it."""
    return hashlib.sha256(plain.encode()).hexdigest()


def looks_like_one(plain: str) -> bool:
    """Whether it is worth looking up."""
    return len(plain) == _PLAIN_LENGTH and plain.startswith(PREFIX) and plain.isascii()


@transaction.atomic
def create(
    *,
    tenant: Tenant,
    name: str,
    scopes: Sequence[str],
    models: Sequence[str] = (),
    expires_at: datetime | None = None,
    actor: Actor,
) -> tuple[ApiToken, str]:
    """A new token and its plain text, which nobody can see again.

    `models` are patterns of what it may call (see `allows`). It acts for the actor's user, and never has more rights,
    more models or a longer life than what it was made with.
    """
    if actor.user_id is None:
        raise InvalidInput("A token acts for a person; the system cannot have one.", code="token_without_a_person")
    name = clean_name(name)
    wanted = list(dict.fromkeys(scopes))
    if not wanted or not set(wanted) <= set(SCOPES):
        raise InvalidInput("Choose at least one scope.", fields={"scopes": [f"Known scopes: {', '.join(SCOPES)}."]})
    parent = _parent(actor.token_id) if actor.token_id else None
    allowed = frozenset(parent.scopes) if parent else ALL_SCOPES
    allowed &= scopes_of(role_of(User.objects.get(pk=actor.user_id), tenant))
    if missing := [scope for scope in wanted if scope not in allowed]:
        raise Forbidden(
            f"You cannot give a token rights that you do not have: {', '.join(missing)}.",
            hint=f"You may give: {', '.join(sorted(allowed)) or 'none'}.",
        )
    patterns = within(parent.allowed_models if parent else [], clean_patterns(models))
    if parent and parent.expires_at:
        expires_at = min(expires_at or parent.expires_at, parent.expires_at)
    if expires_at is not None and expires_at <= now():
        raise InvalidInput("The token would be expired already.", fields={"expires_at": ["Must be in the future."]})
    plain = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        tenant=tenant,
        name=name,
        prefix=plain[: len(PREFIX) + 6],
        digest=digest(plain),
        scopes=wanted,
        allowed_models=patterns,
        created_by_id=actor.user_id,
        parent=parent,
        expires_at=expires_at,
    )
    audit.record(
        "token.created",
        actor=actor,
        tenant_id=tenant.pk,
        target=str(token),
        scopes=wanted,
        models=patterns,
        expires_at=expires_at.isoformat() if expires_at else None,
    )
    return token, plain


@transaction.atomic
def revoke(token: ApiToken, *, actor: Actor) -> None:
    """End a token for good, and those that were made with it. Revoking it twice changes nothing."""
    moment = now()
    if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=moment):
        routing.bump(token.tenant_id)
        audit.record("token.revoked", actor=actor, tenant_id=token.tenant_id, target=str(token))
        token.revoked_at = moment
    for child in ApiToken.objects.filter(parent=token.pk, revoked_at=None):
        revoke(child, actor=actor)


def _parent(pk: str) -> ApiToken:
    """The token that another one is made with, held until that is done: it cannot be revoked in between."""
    parent = ApiToken.objects.select_for_update().usable(at=now()).filter(pk=pk).first()
    if parent is None:
        raise Forbidden("The token that asks for this is not valid any more.")
    return parent


# --- What it may call -----------------------------------------------------------------------------------------------


def allows(patterns: Sequence[str], name: str) -> bool:
    """Whether a token that is restricted to these patterns may call a model (`name@factory`) or a route. Pure.

    No patterns allow everything. `*` stands for any text. A pattern with an “@” is compared with the full name of a
    model; one without, such as `gpt-4o` or `gpt-*`, with routes' names and with models' own names at any factory.
    """
    own = name.rpartition("@")[0]
    return not patterns or any(
        _matches(pattern, name) or (bool(own) and "@" not in pattern and _matches(pattern, own)) for pattern in patterns
    )


def clean_patterns(patterns: Sequence[str]) -> list[str]:
    """The patterns without surrounding space, each once; raises InvalidInput."""
    cleaned = list(dict.fromkeys(pattern.strip() for pattern in patterns))
    if len(cleaned) > MAX_PATTERNS:
        raise InvalidInput("Too many models are named.", fields={"models": [f"At most {MAX_PATTERNS}; use patterns."]})
    if any(not 1 <= len(pattern) <= MAX_PATTERN or not pattern.isprintable() for pattern in cleaned):
        fault = f"Each a name or pattern of 1 to {MAX_PATTERN} printable characters, such as gpt-4o or *@OpenAI."
        raise InvalidInput("These are no names of models.", fields={"models": [fault]})
    return cleaned


def within(limits: Sequence[str], patterns: list[str]) -> list[str]:
    """The patterns if they allow nothing but what `limits` allow, the limits if there are none; else raises."""
    if not patterns:
        return list(limits)
    if wider := [pattern for pattern in patterns if not _is_within(limits, pattern)]:
        raise Forbidden(
            f"You cannot give a token models that you may not call: {', '.join(wider[:5])}.",
            hint=f"You may give: {', '.join(limits[:20])}.",
        )
    return patterns


def _is_within(limits: Sequence[str], pattern: str) -> bool:
    """Whatever a limit matches when `*` in the pattern is a character like any other, it matches for any text there."""
    if "*" in pattern.rpartition("@")[2] and "@" in pattern:  # where its model's own name ends is not certain
        return any(_matches(limit, pattern) for limit in limits) or not limits
    return allows(limits, pattern)


def _matches(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(first):
        return False
    *inner, last = rest
    at = len(first)
    for piece in inner:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return text.endswith(last) and len(text) - len(last) >= at


# --- Presented ------------------------------------------------------------------------------------------------------


def presentable(*, at: datetime) -> QuerySet[ApiToken]:
    """The tokens that are good for something: not expired or revoked, their tenant enabled, their maker active.

    They carry `tenant`, `created_by` and the maker's current role in the tenant (`principal` reads it).
    """
    roles = Membership.objects.filter(tenant=OuterRef("tenant"), user=OuterRef("created_by"))
    return (
        ApiToken.objects.usable(at=at)
        .filter(tenant__status=VALID, created_by__is_active=True)
        .select_related("tenant", "created_by")
        .annotate(maker_role=Subquery(roles.values("role")[:1]))
    )


def authenticate(plain: str) -> ApiToken | None:
    """The usable token with this plain text (see `presentable`), or None: unknown, expired, revoked, its maker gone."""
    if not looks_like_one(plain):
        return None
    moment = now()
    token = presentable(at=moment).filter(digest=digest(plain)).first()
    if token is not None and (token.last_used_at is None or token.last_used_at < moment - _USE_RECORDED_EVERY):
        record_use([token.pk])
    return token


def record_use(token_ids: Iterable[str]) -> None:
    """Note that these tokens were used now, for each at most once a minute."""
    moment = now()
    unrecorded = Q(last_used_at=None) | Q(last_used_at__lt=moment - _USE_RECORDED_EVERY)
    for pk in token_ids:  # one by one: rows locked together by several processes end in a deadlock
        ApiToken.objects.filter(unrecorded, pk=pk).update(last_used_at=moment)


def principal(token: ApiToken, *, address: str = "") -> Principal:
    """What a token may do now: its scopes, and never more than its maker's role allows."""
    user = cast(User, token.created_by)
    role = str(getattr(token, "maker_role", None) or role_of(user, token.tenant))
    label = f"{user.get_username()} ({token.name})"[:150]
    return Principal(
        actor=Actor(user_id=user.pk, token_id=token.pk, label=label, address=address),
        tenant_id=token.tenant_id,
        role=role,
        scopes=frozenset(token.scopes) & scopes_of(role),
        is_staff=False,
    )


def role_of(user: AbstractBaseUser, tenant: Tenant) -> str:
    """The user's role in the tenant. Staff who may make tokens count as admins of every tenant."""
    role = Membership.objects.filter(tenant=tenant, user_id=user.pk).values_list("role", flat=True).first()
    if role is None and isinstance(user, User) and user.is_staff and user.has_perm("tenants.add_apitoken"):
        return Role.ADMIN.value
    return str(role or "")


def scopes_of(role: str) -> frozenset[str]:
    """The most that a token of somebody with this role can do."""
    if role in MANAGER_ROLES:
        return ALL_SCOPES
    return _MEMBER_SCOPES if role else frozenset()
