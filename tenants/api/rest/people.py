"""Tenants, their members and tokens."""

from __future__ import annotations

import dataclasses
from typing import cast

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Forbidden, InvalidInput, NotFound
from core.principal import Principal
from core.views import ReadOnlyResource, Resource
from providers.models import VALID
from tenants import access
from tenants.api.rest import bodies
from tenants.api.rest.filters import MemberFilter, TokenFilter
from tenants.api.rest.serializers import (
    MembershipSerializer,
    MeSerializer,
    NewTokenSerializer,
    TenantSerializer,
    TokenSerializer,
)
from tenants.models import ApiToken, Membership, Role, Tenant
from tenants.services import defaults, members, tenants, tokens


class MeViewSet(Resource):
    """Who the caller is, and what it may do."""

    queryset = Membership.objects.none()
    serializer_class = MeSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(responses=MeSerializer, operation_id="me_retrieve")
    def show(self, request: Request) -> Response:
        caller = self.principal
        me = {
            "user": request.user.get_username(),
            "token_id": caller.actor.token_id,
            "tenant_id": caller.tenant_id,
            "role": caller.role,
            "scopes": sorted(caller.scopes),
            "may_write": caller.may_write,
            "is_staff": caller.is_staff,
        }
        return Response(MeSerializer(me).data)


class TenantViewSet(ReadOnlyResource):
    """The tenants that the caller belongs to; for a token, its own."""

    queryset = Tenant.objects.none()
    serializer_class = TenantSerializer
    filter_backends = ()

    def roles(self) -> dict[str, str]:
        caller = self.principal
        if caller.actor.token_id:
            return {caller.tenant_id: caller.role}
        rows = Membership.objects.filter(user=caller.actor.user_id, tenant__status=VALID)
        return dict(rows.values_list("tenant_id", "role"))

    def get_serializer_context(self) -> dict:
        fake = getattr(self, "swagger_fake_view", False)
        return {**super().get_serializer_context(), "roles": {} if fake else self.roles()}

    def rows(self) -> QuerySet[Tenant]:
        self.principal.require("read")
        return Tenant.objects.filter(pk__in=list(self.roles()))

    def acting_in(self, pk: str) -> Principal:
        """The caller as a member of this tenant, which need not be the one that the request acts for."""
        role = self.roles().get(pk)
        if role is None:
            raise NotFound("There is no such tenant.")
        return dataclasses.replace(self.principal, tenant_id=pk, role=role)

    def shown(self, tenant: Tenant, status: int = 200) -> Response:
        return Response(self.get_serializer(tenant).data, status=status)

    @extend_schema(request=bodies.NewTenant, responses={201: TenantSerializer})
    def create(self, request: Request) -> Response:
        """A new tenant, owned by the caller. Only for people: a token belongs to the tenant that it has."""
        if self.principal.actor.token_id:
            raise Forbidden("A token cannot make tenants.", hint="Log in, or ask the staff.")
        given = bodies.NewTenant.read(request.data)
        owner = cast(User, request.user)
        return self.shown(tenants.create(owner=owner, actor=self.principal.actor, **given), 201)

    @extend_schema(request=bodies.TenantChange, responses=TenantSerializer)
    @transaction.atomic
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change name, e-mail address or default models."""
        tenant = access.tenant(self.acting_in(pk), scope="write")
        given = bodies.TenantChange.read(request.data)
        basics = {name: given.pop(name) for name in ("name", "email") if name in given}
        tenant = tenants.update(tenant, actor=self.principal.actor, **basics)
        return self.shown(defaults.set_default_models(tenant, values=given, actor=self.principal.actor))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a tenant with everything it owns. Only for its owners, and not with a token."""
        caller = self.acting_in(pk)
        tenant = access.tenant(caller, scope="write")
        if caller.role != Role.OWNER or caller.actor.token_id:
            raise Forbidden("Only an owner who is logged in may delete the tenant.")
        tenants.delete(tenant, actor=caller.actor)
        return Response(status=204)


class MemberViewSet(ReadOnlyResource):
    """Who belongs to the tenant."""

    queryset = Membership.objects.none()
    serializer_class = MembershipSerializer
    filterset_class = MemberFilter
    search_fields = ("user__username", "user__email")
    ordering_fields = ("created_at", "role", "user__username")

    def rows(self) -> QuerySet[Membership]:
        return access.memberships(self.principal)

    @extend_schema(request=bodies.NewMember, responses={201: MembershipSerializer})
    def create(self, request: Request) -> Response:
        """Let a user in."""
        tenant = access.tenant(self.principal, scope="write")
        given = bodies.NewMember.read(request.data)
        user = User.objects.filter(username=given["username"], is_active=True).first()
        if user is None:
            raise InvalidInput("There is no such user.", fields={"username": ["There is no such user."]})
        role = given["role"]
        membership = members.add(tenant=tenant, user=user, role=role, actor=self.principal.actor)
        return Response(MembershipSerializer(membership).data, status=201)

    @extend_schema(request=bodies.RoleChange, responses=MembershipSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change a member's role."""
        membership = access.membership(self.principal, pk, scope="write")
        given = bodies.RoleChange.read(request.data)
        changed = members.set_role(membership, role=given["role"], actor=self.principal.actor)
        return Response(MembershipSerializer(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Let a member go, or leave; what their tokens could do ends with it."""
        membership = access.membership(self.principal, pk)
        if not members.is_own(membership, self.principal.actor):
            self.principal.require("write")
        members.remove(membership, actor=self.principal.actor)
        return Response(status=204)


class TokenViewSet(ReadOnlyResource):
    """API tokens of the tenant, never their plain text."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    filterset_class = TokenFilter
    search_fields = ("name", "prefix")
    ordering_fields = ("created_at", "expires_at", "last_used_at", "name")

    def rows(self) -> QuerySet[ApiToken]:
        return access.tokens(self.principal).select_related("created_by")

    @extend_schema(request=bodies.NewToken, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """A new token. Its plain text is in this answer and never shown again."""
        tenant = access.tenant(self.principal, scope="write")
        given = bodies.NewToken.read(request.data)
        token, plain = tokens.create(tenant=tenant, actor=self.principal.actor, **given)
        answer = Response({**TokenSerializer(token).data, "token": plain}, status=201)
        answer["Cache-Control"] = "no-store"
        return answer

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a token. It stays in the list, with the date."""
        tokens.revoke(access.token(self.principal, pk, scope="write"), actor=self.principal.actor)
        return Response(status=204)
