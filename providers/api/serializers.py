"""The catalogue as tenants see it."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from providers.fields import TYPE_CHOICES
from providers.models import LLM, LLMFactory


class CredentialFieldSerializer(serializers.Serializer):
    """One field of the form in which a factory's key is entered."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # the wire's name
    secret = serializers.BooleanField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # likewise
    default = serializers.CharField(required=False)
    choices = serializers.ListField(child=serializers.CharField(), required=False)
    model_types = serializers.ListField(child=serializers.ChoiceField(TYPE_CHOICES), required=False)
    help = serializers.CharField(required=False)
    json = serializers.BooleanField(required=False, help_text="The value is an object.")


class TagsField(serializers.Field):
    """Tags as a list."""

    def to_representation(self, value: str) -> list[str]:
        return [tag for tag in value.split(",") if tag]


class FactorySerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    tags = extend_schema_field({"type": "array", "items": {"type": "string"}})(TagsField)()
    docs_url = serializers.CharField(help_text="Where a person gets a key; empty if unknown.")
    credential_fields = serializers.SerializerMethodField()

    class Meta:
        model = LLMFactory
        fields = (
            "id", "name", "logo", "tags", "rank", "status", "base_url", "base_url_required", "keyless",
            "self_deployed", "credential_fields", "docs_url",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(CredentialFieldSerializer(many=True))
    def get_credential_fields(self, factory: LLMFactory) -> list[dict]:
        return [
            {"name": "", "label": spec["name"], "secret": False, "required": False, **spec}
            for spec in factory.credential_fields
        ]


class ModelSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    name = serializers.CharField(source="__str__", help_text="llm_name@factory, by which a call names it.")
    factory = serializers.CharField(source="factory.name")
    model_types = serializers.ListField(child=serializers.ChoiceField(TYPE_CHOICES))
    tags = extend_schema_field({"type": "array", "items": {"type": "string"}})(TagsField)()
    priced = serializers.BooleanField(source="is_priced")

    class Meta:
        model = LLM
        fields = (
            "id", "name", "llm_name", "factory", "model_types", "max_tokens", "is_tools", "tags", "status", "priced",
            "input_price", "output_price", "cached_input_price", "price_source", "priced_at",
        )  # fmt: skip
        read_only_fields = fields
