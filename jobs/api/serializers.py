"""A job, and a kind of job, as callers see them."""

from __future__ import annotations

from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from core.drf import StrictSerializer
from jobs.models import Job
from jobs.services import types

KEY_LENGTH = 128
KEY_PATTERN = r"^[\x21-\x7e]+\Z"


class JobErrorSerializer(serializers.Serializer):
    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False)
    hint = serializers.CharField(required=False)


class ProgressDetailSerializer(serializers.Serializer):
    step = serializers.CharField(required=False, help_text="What the bytes belong to.")
    done_bytes = serializers.IntegerField(required=False)
    total_bytes = serializers.IntegerField(required=False)
    rate_bytes_per_s = serializers.IntegerField(required=False, help_text="Smoothed over the last seconds.")
    eta_s = serializers.IntegerField(required=False, help_text="Seconds that are left at this rate.")


class JobSerializer(serializers.ModelSerializer):
    group = serializers.SerializerMethodField()
    tenant = serializers.CharField(source="tenant_id", help_text="Empty for a job of the installation.")
    progress_detail = ProgressDetailSerializer(help_text="As far as the job knows it; empty for most.")
    params = serializers.DictField()
    result = serializers.DictField(help_text="What came out; empty until the job is completed.")
    error = JobErrorSerializer(help_text="Why it failed; empty unless it did.")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = Job
        fields = (
            "id", "type", "group", "queue", "tenant", "state", "progress", "progress_detail", "message", "params",
            "result", "error", "attempts", "max_attempts", "timeout_s", "created_by", "cancel_requested_at",
            "suspend_requested_at", "run_after", "created_at", "started_at", "finished_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_group(self, job: Job) -> str:
        job_type = types.find(job.type)
        return job_type.group if job_type else ""


class SubmittedJobSerializer(JobSerializer):
    joined = serializers.BooleanField(help_text="Whether the job was there before it was asked for.")

    class Meta(JobSerializer.Meta):
        fields = (*JobSerializer.Meta.fields, "joined")  # type: ignore[assignment]
        read_only_fields = fields  # type: ignore[assignment]


class JobRequestSerializer(StrictSerializer):
    type = serializers.CharField(max_length=64, help_text="Its id or an alias: see /job_types.")
    params = serializers.DictField(default=dict, help_text="What the type's `params_schema` allows.")
    idempotency_key = serializers.CharField(
        required=False,
        max_length=KEY_LENGTH,
        validators=[RegexValidator(KEY_PATTERN, "Use printable ASCII characters without spaces.")],
        help_text="Asking again with the same key finds the same job. The header Idempotency-Key does the same.",
    )


class JobTypeSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="What `type` of a job says.")
    group = serializers.CharField()
    name = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField(), help_text="Other names it may be asked for by.")
    description = serializers.CharField()
    params_schema = serializers.DictField(help_text="JSON Schema of `params`.")
    queue = serializers.CharField(help_text="Jobs of one queue are begun in the order in which they were made.")
    timeout_s = serializers.IntegerField(help_text="How long one attempt may take.")
    stall_after_s = serializers.FloatField(allow_null=True, help_text="For how long an attempt may report nothing new.")
    max_attempts = serializers.IntegerField()
    retry_delay_s = serializers.FloatField(help_text="Before the second attempt; later ones wait longer.")
    suspendable = serializers.BooleanField()
    who = serializers.ChoiceField(choices=[who.value for who in types.Who], help_text="Who may start one.")
    may_start = serializers.BooleanField(help_text="Whether you may.")


class JobGroupSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    description = serializers.CharField()
    types = serializers.ListField(child=serializers.CharField())
