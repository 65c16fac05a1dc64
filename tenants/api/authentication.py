"""How a request says who it is: an API token, or the browser's session."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from core.audit import Actor
from core.errors import Forbidden, NotFound, Unauthenticated
from core.http import client_address
from core.principal import ALL_SCOPES, Principal
from providers.models import VALID
from tenants.models import Membership, Role
from tenants.services import tokens

TENANT_HEADER = "X-Tenant-Id"
_MAX_HEADER_LENGTH = 512


class TokenOrSession(BaseAuthentication):
    """`Authorization: Bearer <token>`, the classic bare `Authorization: <token>`, or the session cookie.

    A header that is there decides alone: a bad token is never forgiven because a cookie came along. `request.user` is
    the user, or the token's maker; `request.auth` is the `Principal`.
    """

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        header = str(request.META.get("HTTP_AUTHORIZATION", "")).strip(" ")
        if header:
            return _by_token(header, request)
        try:
            found = SessionAuthentication().authenticate(request)
        except PermissionDenied as error:
            raise Forbidden(
                "The request lacks the CSRF token of your session.",
                hint="Send the cookie's value as X-CSRFToken, or use an API token.",
                code="csrf_failed",
            ) from error
        if found is None:
            return None
        user = cast(User, found[0])
        return user, _of_session(user, request)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="llmadmin"'


def _by_token(header: str, request: Request) -> tuple[User, Principal]:
    plain = _plain_text(header)
    token = tokens.authenticate(plain) if plain else None
    if token is None:
        raise Unauthenticated("The token is not valid.", hint="Send Authorization: Bearer <token>.")
    principal = tokens.principal(token, address=client_address(request))
    if request.headers.get(TENANT_HEADER, token.tenant_id) != token.tenant_id:
        raise NotFound("There is no such tenant.", hint="A token belongs to one tenant; leave the header out.")
    return cast(User, token.created_by), principal


def _plain_text(header: str) -> str:
    """The token of an Authorization header; empty for anything malformed."""
    if len(header) > _MAX_HEADER_LENGTH or not header.isascii() or not header.isprintable():
        return ""
    match header.split(" "):
        case [alone]:
            return alone
        case [scheme, token] if scheme.lower() == "bearer":
            return token
    return ""


def _of_session(user: User, request: Request) -> Principal:
    """By default in the tenant that was made for the user, else in the one they have belonged to for longest.

    Anybody can make anybody an owner of their tenant, unasked: that must not be where the next key is put.
    """
    rows = Membership.objects.filter(user=user, tenant__status=VALID).order_by("created_at", "id")
    memberships: list[Any] = list(rows.values("tenant_id", "role", "founding"))
    wanted = request.headers.get(TENANT_HEADER)
    if wanted is not None:
        memberships = [membership for membership in memberships if membership["tenant_id"] == wanted]
        if not memberships:
            raise NotFound("There is no such tenant.", code="no_such_tenant")
    memberships.sort(key=lambda membership: not membership["founding"] or membership["role"] != Role.OWNER)
    chosen = memberships[0] if memberships else {"tenant_id": "", "role": ""}
    return Principal(
        actor=Actor(user_id=user.pk, label=user.get_username(), address=client_address(request)),
        tenant_id=chosen["tenant_id"],
        role=str(chosen["role"]),
        scopes=ALL_SCOPES,
        is_staff=user.is_staff,
    )
