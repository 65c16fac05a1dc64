"""`/api/services`: services as staff set them up. What tenants see of them is under `/llm/services`."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from core.views import ReadOnlyResource, place
from runtimes.api import bodies
from runtimes.api.access import APPROVE, require
from runtimes.api.filters import ServiceFilter
from runtimes.models import Audience, LLMService, ServiceTenant
from runtimes.services import services


class RegisteredServiceSerializer(serializers.ModelSerializer[LLMService]):
    has_key = serializers.SerializerMethodField()
    key_last4 = serializers.CharField(source="secret_last4", help_text="Of the stored key; the rest is never shown.")
    urls = serializers.ListField(child=serializers.CharField())
    allowed_networks = serializers.ListField(child=serializers.CharField())
    options = serializers.DictField()
    tenants = serializers.SerializerMethodField(help_text="Ids of those who may call it, if its audience is “some”.")
    audience = serializers.ChoiceField(Audience.choices)

    class Meta:
        model = LLMService
        fields = (
            "id", "name", "type", "description", "is_enabled", "api_format", "urls", "has_key", "key_last4",
            "api_key_env_var", "short_timeout_s", "long_timeout_s", "verify_cert", "enable_discovery",
            "allowed_networks", "audience", "tenants", "options", "is_default", "health", "checked_at", "found_at",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_has_key(self, service: LLMService) -> bool:
        return bool(service.secret_fingerprint)

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_tenants(self, service: LLMService) -> list[str]:
        return [row.tenant_id for row in service.tenants.all()]


class RegisteredServiceViewSet(ReadOnlyResource):
    """Services as staff set them up: for sessions of staff with the permissions of the admin."""

    queryset = LLMService.objects.none()
    serializer_class = RegisteredServiceSerializer
    filterset_class = ServiceFilter
    search_fields = ("name", "type", "description")

    def rows(self) -> QuerySet[LLMService]:
        require(self.request, "view")
        tenants = Prefetch("tenants", ServiceTenant.objects.order_by("tenant_id"))
        return LLMService.objects.defer("secret").prefetch_related(tenants)

    @sensitive_variables()
    @extend_schema(request=bodies.NewService, responses={201: RegisteredServiceSerializer})
    def create(self, request: Request) -> Response:
        """Add a service. It is called by nobody until it is enabled and has an audience."""
        require(request, "add")
        made = services.create(actor=self.principal.actor, **bodies.NewService.read(request.data))
        return self._answer(made.pk, status=201, headers={"Location": place("service-detail", made.pk)})

    @sensitive_variables()
    @extend_schema(request=bodies.ServiceChange, responses=RegisteredServiceSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given. A stored key goes only where it was entered for: enter it again with new URLs."""
        require(request, "change")
        services.update(service_id=pk, actor=self.principal.actor, **bodies.ServiceChange.read(request.data))
        return self._answer(pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a service, its models and its key."""
        require(request, "delete")
        services.delete(service_id=pk, actor=self.principal.actor)
        return Response(status=204)

    @extend_schema(request=None, responses=RegisteredServiceSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Watch it, list its models, and let its audience call them."""
        require(request, "change")
        services.enable(service_id=pk, actor=self.principal.actor)
        return self._answer(pk)

    @extend_schema(request=None, responses=RegisteredServiceSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Leave it alone; nobody can call it any more."""
        require(request, "change")
        services.disable(service_id=pk, actor=self.principal.actor)
        return self._answer(pk)

    @extend_schema(request=bodies.Networks, responses=RegisteredServiceSerializer)
    @action(detail=True, methods=["post"])
    def networks(self, request: Request, pk: str) -> Response:
        """Approve the networks, beside public addresses, on which it may be reached."""
        require(request, APPROVE)
        given = bodies.Networks.read(request.data)
        services.approve_networks(service_id=pk, actor=self.principal.actor, **given)
        return self._answer(pk)

    @extend_schema(request=bodies.AudienceChange, responses=RegisteredServiceSerializer)
    @action(detail=True, methods=["post"])
    def audience(self, request: Request, pk: str) -> Response:
        """Say which tenants may call it: all, some, or none."""
        require(request, "change")
        given = bodies.AudienceChange.read(request.data)
        services.set_audience(
            service_id=pk,
            audience=given["audience"],
            tenant_ids=given.get("tenants"),
            actor=self.principal.actor,
        )
        return self._answer(pk)

    @extend_schema(request=None, responses=RegisteredServiceSerializer)
    @action(detail=True, methods=["post"], url_path="default", url_name="default")
    def make_default(self, request: Request, pk: str) -> Response:
        """Let it answer chats that name no model."""
        require(request, "change")
        services.set_default(service_id=pk, actor=self.principal.actor)
        return self._answer(pk)

    def _answer(self, pk: str, **how: Any) -> Response:
        return Response(RegisteredServiceSerializer(self._row(pk)).data, **how)

    def _row(self, pk: str) -> LLMService:
        return LLMService.objects.defer("secret").prefetch_related("tenants").get(pk=pk)
