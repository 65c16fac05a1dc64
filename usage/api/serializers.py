"""Usage as a tenant sees it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from core.errors import InvalidInput
from usage.models import UsageRecord
from usage.models.records import OUTCOME_CHOICES
from usage.pricing import MONEY_STEP
from usage.records import COUNTS
from usage.services.reports import GROUPS, SUMS

_PLACES = -MONEY_STEP.as_tuple().exponent  # type: ignore[operator]


class MoneyField(serializers.DecimalField):
    """USD as a text, with all of its decimal places."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=19 + _PLACES, decimal_places=_PLACES, **options)


class UsageCountsSerializer(serializers.Serializer):
    """Buckets that do not overlap; null is unknown. `prompt_tokens` and `completion_tokens` are their sums."""

    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    estimated = serializers.BooleanField(help_text="Counted by the gateway, since the upstream did not say.")

    def get_fields(self) -> dict[str, serializers.Field]:
        counts = {name: serializers.IntegerField(allow_null=True) for name in COUNTS}
        return {**counts, **super().get_fields()}


class CallAttemptSerializer(serializers.Serializer):
    model = serializers.CharField()
    result = serializers.CharField(help_text="ok, or the code of an error.")
    ms = serializers.IntegerField()


class UsageRecordSerializer(serializers.ModelSerializer):
    id = serializers.CharField()
    model = serializers.CharField(help_text="As the caller named it.")
    factory = serializers.CharField(help_text="The model's factory, or service.")
    llm_name = serializers.CharField(help_text="The model that answered, or was tried last.")
    target = serializers.CharField(help_text="The same as it is called: name@factory or service~model.")
    tenant_model = serializers.CharField(
        source="tenant_llm_id", allow_null=True, help_text="Its id; null for a service's model."
    )
    token = serializers.CharField(source="token_id", allow_null=True, help_text="Its id; null: called from Python.")
    outcome = serializers.ChoiceField(OUTCOME_CHOICES)
    usage = UsageCountsSerializer(source="*")
    cost = MoneyField(allow_null=True, help_text="USD; null: unpriced, or not known.")
    attempts = serializers.SerializerMethodField(help_text="In order; empty when the first one answered.")

    class Meta:
        model = UsageRecord
        fields = (
            "id", "started_at", "operation", "model", "route", "factory", "llm_name", "target", "tenant_model",
            "token",
            "end_user", "stream", "outcome", "status", "error_code", "latency_ms", "first_token_ms", "usage", "cost",
            "attempts", "request_id",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(CallAttemptSerializer(many=True))
    def get_attempts(self, record: UsageRecord) -> list[dict[str, Any]]:
        return [{"model": model, "result": result, "ms": ms} for model, result, ms in record.attempts or ()]


class UsageSumsSerializer(serializers.Serializer):
    def get_fields(self) -> dict[str, serializers.Field]:
        counts = {name: serializers.IntegerField() for name in SUMS if name != "cost"}
        return {**super().get_fields(), **counts, "cost": MoneyField(help_text="USD, of the calls that are priced.")}


class UsageLineSerializer(UsageSumsSerializer):
    """The sums of a group; what it is a group of stands in those of the first fields that were asked for."""

    day = serializers.DateField(required=False)
    factory = serializers.CharField(required=False)
    llm_name = serializers.CharField(required=False)
    target = serializers.CharField(required=False, help_text="The model as it is called: name@factory, service~model.")
    token_id = serializers.CharField(required=False, help_text="Empty: called from Python.")
    token_name = serializers.CharField(required=False, help_text="Empty: there is no such token any more.")
    operation = serializers.CharField(required=False)


@extend_schema_serializer(many=False)
class UsageSummarySerializer(serializers.Serializer):
    """Describes what `reports.as_json` makes, which is quicker for thousands of lines."""

    group_by = serializers.ListField(child=serializers.ChoiceField(list(GROUPS)))
    results = UsageLineSerializer(many=True, help_text="Days in their order, all else by what it cost.")
    total = UsageSumsSerializer(help_text="Of all, whether there is a line for it or not.")
    truncated = serializers.BooleanField(help_text="There are more groups than lines; ask for less at a time.")

    def get_fields(self) -> dict[str, serializers.Field]:
        period = {"from": serializers.DateField(), "to": serializers.DateField()}
        return {**period, **super().get_fields()}


class SummaryQuery(serializers.Serializer):
    """What a report is asked for with."""

    group_by = serializers.CharField(default="day", help_text=f"One or several of {', '.join(GROUPS)}; with commas.")
    token = serializers.CharField(required=False, max_length=32, help_text="The token's id.")
    target = serializers.CharField(required=False, max_length=289, help_text="A model: name@factory or service~model.")
    factory = serializers.CharField(
        required=False, max_length=128, help_text="The factory's exact name, or the service's."
    )
    llm_name = serializers.CharField(required=False, max_length=160, help_text="The model's exact name.")
    operation = serializers.CharField(required=False, max_length=32)

    def get_fields(self) -> dict[str, serializers.Field]:
        period = {
            "from": serializers.DateField(required=False, help_text="The first day (UTC); 29 days before the last."),
            "to": serializers.DateField(required=False, help_text="The last day, included (UTC); today."),
        }
        as_ = serializers.ChoiceField(["json", "csv"], default="json", help_text="csv: a table, as a file.")
        return {**period, **super().get_fields(), "as": as_}

    def validate_group_by(self, value: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        if not names or not set(names) <= set(GROUPS):
            raise serializers.ValidationError(f"Say one or several of {', '.join(GROUPS)}.")
        return names

    @classmethod
    def read(cls, params: Any) -> dict[str, Any]:
        """The checked parameters; raises InvalidInput."""
        query = cls(data=params.dict())
        query.is_valid(raise_exception=True)
        found = dict(query.validated_data)
        if any("\0" in str(value) for value in found.values()):
            raise InvalidInput("A parameter holds a NUL.")
        return found
