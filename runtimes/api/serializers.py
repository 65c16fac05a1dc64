"""Services and their models as callers see them. Times are milliseconds of the epoch, sizes bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from providers.fields import TYPE_CHOICES
from runtimes.api.access import may
from runtimes.drivers.base import CAPABILITIES
from runtimes.models import Health, LLMService, ModelState, ModelType, ServiceModel
from runtimes.services import calls

CAPABILITIES_SCHEMA = {
    "type": "object",
    "required": list(CAPABILITIES),
    "properties": {name: {"type": "boolean"} for name in CAPABILITIES},
}


@extend_schema_field({"type": "integer", "nullable": True})
class Milliseconds(serializers.Field):
    """A moment in milliseconds of the epoch."""

    def to_representation(self, value: datetime) -> int:
        return int(value.timestamp() * 1000)


class ServiceErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False, help_text="For staff.")
    hint = serializers.CharField(required=False, help_text="For staff.")


class ServiceSerializer(serializers.Serializer[LLMService]):
    """A service, as the last look at it found it."""

    name = serializers.CharField()
    type = serializers.CharField(help_text="Its driver.")
    description = serializers.CharField()
    state = serializers.ChoiceField(Health.choices, source="health")
    is_enabled = serializers.BooleanField(help_text="Only staff see one that is not.")
    is_default = serializers.BooleanField(help_text="A chat that names no model goes to its first loaded one.")
    version = serializers.CharField()
    latency_ms = serializers.IntegerField(allow_null=True)
    checked_at = Milliseconds(allow_null=True)
    up_since = Milliseconds(allow_null=True)
    listed_at = Milliseconds(allow_null=True)
    models_total = serializers.IntegerField(source="model_count")
    error = serializers.SerializerMethodField(help_text="Why it is down; empty unless it is.")
    urls = serializers.SerializerMethodField(help_text="For staff; empty for others.")
    capabilities = serializers.SerializerMethodField()

    @extend_schema_field(ServiceErrorSerializer)
    def get_error(self, service: LLMService) -> dict[str, str]:
        """What it says may name hosts, which are not for tenants."""
        told = {"code", "message", "hint"} if _for_staff(self) else {"code"}
        return {name: str(text) for name, text in (service.error or {}).items() if name in told}

    def get_urls(self, service: LLMService) -> list[str]:
        return list(service.urls) if _for_staff(self) else []

    @extend_schema_field(CAPABILITIES_SCHEMA)
    def get_capabilities(self, service: LLMService) -> dict[str, bool]:
        return calls.capabilities(service)


class ServedModelSerializer(serializers.Serializer[ServiceModel]):
    """A model of a service. What its runtime does not say is empty, null or false."""

    name = serializers.CharField(source="full_name", help_text="service~model, by which it is called.")
    service = serializers.CharField(source="service.name")
    type = serializers.ChoiceField(ModelType.choices)
    model_types = serializers.ListField(
        child=serializers.ChoiceField(TYPE_CHOICES), help_text="The same in the words of the catalogue."
    )
    state = serializers.ChoiceField(ModelState.choices)
    description = serializers.CharField()
    publisher = serializers.CharField()
    arch = serializers.CharField(source="architecture")
    architecture = serializers.CharField(help_text="The same as arch.")
    quantization = serializers.CharField()
    parameters = serializers.IntegerField(allow_null=True)
    max_tokens = serializers.IntegerField(allow_null=True, help_text="Of the context.")
    size = serializers.IntegerField(source="size_bytes", allow_null=True, help_text="In bytes.")
    streaming = serializers.BooleanField()
    instructed = serializers.BooleanField()
    coding = serializers.BooleanField()
    tooling = serializers.BooleanField()
    is_mlx = serializers.BooleanField()
    is_gguf = serializers.BooleanField()
    runtime_name = serializers.CharField()
    file_path = serializers.SerializerMethodField(help_text="Where it lies on its host, for staff; empty for others.")
    modified_at = Milliseconds(allow_null=True)

    def get_file_path(self, model: ServiceModel) -> str:
        return model.file_path if _for_staff(self) else ""


class PingSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField([("ok", "ok"), ("error", "error")])
    message = serializers.CharField()
    state = serializers.ChoiceField(Health.choices)
    version = serializers.CharField()
    latency_ms = serializers.IntegerField(allow_null=True)
    checked_at = Milliseconds(allow_null=True)


class PingQuery(serializers.Serializer[Any]):
    now = serializers.BooleanField(required=False, default=False)


def _for_staff(serializer: Any) -> bool:
    return may(serializer.context.get("request"), "view")
