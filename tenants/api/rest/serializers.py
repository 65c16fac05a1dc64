"""What a tenant owns, as it is shown. A key is never part of it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core.openapi import ProblemSerializer
from providers.fields import TYPE_CHOICES
from tenants.models import (
    DEFAULT_MODEL_COLUMNS,
    SCOPES,
    ApiToken,
    AuditEvent,
    Credential,
    Membership,
    Probe,
    Role,
    Tenant,
    TenantLLM,
)
from tenants.models.credential import VERDICT_CHOICES

DEFAULT_COLUMNS = tuple(DEFAULT_MODEL_COLUMNS.values())


class TenantSerializer(serializers.ModelSerializer):
    email = serializers.CharField(help_text="Whom to ask about this tenant; empty if unknown.")
    role = serializers.SerializerMethodField(help_text="The caller's own.")

    class Meta:
        model = Tenant
        fields = ("id", "name", "email", "status", "role", *DEFAULT_COLUMNS, "created_at", "updated_at")
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(Role.choices))
    def get_role(self, tenant: Tenant) -> str:
        return str(self.context["roles"].get(tenant.pk, ""))


class MeSerializer(serializers.Serializer):
    """The caller."""

    user = serializers.CharField(help_text="The user, or the one that the token acts for.")
    token_id = serializers.CharField(allow_null=True)
    tenant_id = serializers.CharField(help_text="Empty for a user who belongs to no tenant.")
    role = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(sorted(SCOPES)))
    may_write = serializers.BooleanField()
    is_staff = serializers.BooleanField()


class MembershipSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    username = serializers.CharField(source="user.username")
    email = serializers.CharField(source="user.email")

    class Meta:
        model = Membership
        fields = ("id", "username", "email", "role", "created_at")
        read_only_fields = fields


class TokenSerializer(serializers.ModelSerializer):
    scopes = serializers.ListField(child=serializers.ChoiceField(sorted(SCOPES)))
    models = serializers.ListField(
        source="allowed_models",
        child=serializers.CharField(),
        help_text="Patterns of what it may call; empty: everything.",
    )
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = ApiToken
        fields = (
            "id",
            "name",
            "prefix",
            "scopes",
            "models",
            "created_by",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "created_at",
        )
        read_only_fields = fields


class NewTokenSerializer(TokenSerializer):
    token = serializers.CharField(help_text="The token itself: shown in this answer and never again.")

    class Meta:
        model = ApiToken
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class SecretSerializer(serializers.Serializer):
    """By which a person recognises a key."""

    set = serializers.BooleanField()
    last4 = serializers.CharField()
    fingerprint = serializers.CharField()


class CredentialSerializer(serializers.ModelSerializer):
    factory = serializers.CharField(source="factory.name")
    fields = serializers.DictField(help_text="What is not secret.")  # type: ignore[assignment]  # the wire's name
    secret = serializers.SerializerMethodField()

    class Meta:
        model = Credential
        fields = (
            "id", "factory", "label", "base_url", "fields", "secret", "status", "state", "verdict", "reason",
            "failures", "checked_at", "next_check_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(SecretSerializer)
    def get_secret(self, credential: Credential) -> dict[str, Any]:
        return {
            "set": credential.secret_fingerprint != "",
            "last4": credential.secret_last4,
            "fingerprint": credential.secret_fingerprint,
        }


class TenantModelSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    name = serializers.CharField(source="__str__", help_text="llm_name@factory, by which a call names it.")
    factory = serializers.CharField(source="factory.name")
    credential = serializers.CharField(source="credential_id", help_text="The credential's id.")
    model_types = serializers.ListField(child=serializers.ChoiceField(TYPE_CHOICES))
    is_tools = serializers.BooleanField(source="supports_tools", help_text="As told, else as the catalogue says.")

    class Meta:
        model = TenantLLM
        fields = (
            "id", "name", "llm_name", "factory", "credential", "model_types", "max_tokens", "used_tokens", "is_tools",
            "status", "verdict", "checked_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class ProbeSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    factory = serializers.CharField(source="factory.name")
    credential = serializers.CharField(source="credential_id", allow_null=True)
    job = serializers.CharField(source="job_id", allow_null=True)

    class Meta:
        model = Probe
        fields = (
            "id", "credential", "factory", "job", "llm_name", "model_type", "verdict", "step", "http_status",
            "latency_ms", "message", "hint", "billed", "created_at",
        )  # fmt: skip
        read_only_fields = fields


class AuditEventSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    detail = serializers.DictField()

    class Meta:
        model = AuditEvent
        fields = ("id", "action", "actor", "token_id", "address", "target", "detail", "created_at")
        read_only_fields = fields


class ProbeOutcomeSerializer(serializers.Serializer):
    """One call of a test, as a job's result has it."""

    llm_name = serializers.CharField()
    model_type = serializers.CharField()
    verdict = serializers.ChoiceField(VERDICT_CHOICES)
    step = serializers.CharField()
    http_status = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()
    hint = serializers.CharField()


class RejectedKeySerializer(ProblemSerializer):
    """A key that was tested and did not work: nothing was saved."""

    verdict = serializers.ChoiceField(VERDICT_CHOICES)
    probes = ProbeOutcomeSerializer(many=True)
    job = serializers.CharField(help_text="The id of the job that tested it.")
