"""Where the tenant's traces go: one project in Langfuse, or none."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import StrictSerializer
from core.views import Resource
from tenants import access
from tenants.models import LangfuseProject
from tenants.services import langfuse
from tenants.services.langfuse import MAX_HOST, MAX_KEY

LANGFUSE_METHODS: dict[str, Any] = {"get": "show", "put": "save", "patch": "change", "delete": "remove"}


class LangfuseSerializer(serializers.ModelSerializer):
    class Meta:
        model = LangfuseProject
        fields = ("host", "project_id", "project_name", "content", "created_at", "updated_at")
        read_only_fields = fields


class NewLangfuse(StrictSerializer):
    host = serializers.CharField(max_length=MAX_HOST, help_text="Such as https://cloud.langfuse.com.")
    public_key = serializers.CharField(max_length=MAX_KEY, write_only=True)
    secret_key = serializers.CharField(max_length=MAX_KEY, write_only=True)
    content = serializers.BooleanField(
        required=False,
        help_text="Send what was asked and answered, too; if not given it stays as it was, at first off.",
    )


class LangfuseChange(StrictSerializer):
    content = serializers.BooleanField(help_text="Send what was asked and answered, too.")


class LangfuseViewSet(Resource):
    """The tenant's project in Langfuse, where each of its calls through the gateway is traced."""

    queryset = LangfuseProject.objects.none()
    serializer_class = LangfuseSerializer
    filterset_class = None
    calls_upstream = frozenset({"save"})

    @extend_schema(operation_id="langfuse_retrieve", responses=LangfuseSerializer)
    def show(self, request: Request) -> Response:
        """The project. Its keys are not shown."""
        return Response(LangfuseSerializer(access.langfuse(self.principal)).data)

    @extend_schema(operation_id="langfuse_save", request=NewLangfuse, responses=LangfuseSerializer)
    def save(self, request: Request) -> Response:
        """Trace calls to the project that these keys belong to. They are tried first; if refused, nothing changes."""
        tenant = access.tenant(self.principal, scope="write")
        row = langfuse.save(tenant=tenant, **NewLangfuse.read(request.data), actor=self.principal.actor)
        return Response(LangfuseSerializer(row).data)

    @extend_schema(operation_id="langfuse_change", request=LangfuseChange, responses=LangfuseSerializer)
    def change(self, request: Request) -> Response:
        """Send what was asked and answered from now on, or no more."""
        row = access.langfuse(self.principal, scope="write")
        row = langfuse.set_content(row, **LangfuseChange.read(request.data), actor=self.principal.actor)
        return Response(LangfuseSerializer(row).data)

    @extend_schema(operation_id="langfuse_remove", responses={204: None})
    def remove(self, request: Request) -> Response:
        """Trace no more, and forget the keys."""
        langfuse.delete(access.langfuse(self.principal, scope="write"), actor=self.principal.actor)
        return Response(status=204)
