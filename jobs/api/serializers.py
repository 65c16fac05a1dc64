"""A job as its tenant sees it."""

from __future__ import annotations

from rest_framework import serializers

from jobs.models import Job


class JobErrorSerializer(serializers.Serializer):
    code = serializers.CharField(required=False)
    message = serializers.CharField(required=False)
    hint = serializers.CharField(required=False)


class JobSerializer(serializers.ModelSerializer):
    params = serializers.DictField()
    result = serializers.DictField(help_text="What came out; empty until the job is completed.")
    error = JobErrorSerializer(help_text="Why it failed; empty unless it did.")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = Job
        fields = (
            "id", "type", "state", "progress", "message", "params", "result", "error", "attempts", "max_attempts",
            "created_by", "cancel_requested_at", "run_after", "created_at", "started_at", "finished_at",
        )  # fmt: skip
        read_only_fields = fields
