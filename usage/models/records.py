"""The ledger: one row for each metered call, and what they come to each day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q, Sum

from core.ids import ID_LENGTH
from usage.models.fields import IdField, MoneyField
from usage.records import COUNTS, Outcome, called

OUTCOME_CHOICES = [(outcome.value, outcome.value.replace("_", " ")) for outcome in Outcome]

FACTORY_LENGTH, LLM_NAME_LENGTH, MODEL_LENGTH = 128, 160, 256
OPERATION_LENGTH, CODE_LENGTH, LABEL_LENGTH = 32, 64, 64


class UsageRecordQuerySet(models.QuerySet["UsageRecord"]):
    def for_tenant(self, tenant_id: str) -> UsageRecordQuerySet:
        return self.filter(tenant_id=tenant_id)

    def begun_before(self, moment: datetime) -> UsageRecordQuerySet:
        return self.filter(started_at__lt=moment)


class UsageRecord(models.Model):
    """One metered call. Written once, by the ledger, and never changed.

    Nothing here is a foreign key: books outlive the tenants, tokens and models that they name, and a row that could not
    be written because somebody deleted a model meanwhile would be money lost. Counts that are empty are unknown.
    """

    id = IdField("ID", primary_key=True, editable=False)
    tenant_id = IdField("tenant ID")
    token_id = IdField("token ID", null=True, help_text="Empty: called from Python.")
    tenant_llm_id = models.BigIntegerField(
        "tenant model ID", null=True, help_text="The one that answered, or was tried."
    )
    started_at = models.DateTimeField()
    latency_ms = models.IntegerField("latency in ms")
    first_token_ms = models.IntegerField("first token after ms", null=True)
    status = models.SmallIntegerField("HTTP status")
    input_tokens = models.IntegerField(null=True, help_text="Without what was cached, written to a cache, or audio.")
    cached_input_tokens = models.IntegerField(null=True)
    cache_write_tokens = models.IntegerField(null=True)
    audio_input_tokens = models.IntegerField(null=True)
    output_tokens = models.IntegerField(null=True, help_text="Without reasoning and audio.")
    reasoning_tokens = models.IntegerField(null=True)
    audio_output_tokens = models.IntegerField(null=True)
    characters = models.IntegerField(null=True, help_text="That were spoken.")
    audio_ms = models.IntegerField("audio in ms", null=True, help_text="That was heard.")
    searches = models.IntegerField(null=True)
    pages = models.IntegerField(null=True)
    cost = MoneyField("cost in USD", null=True, help_text="Empty: unpriced, or not known.")
    estimated = models.BooleanField(help_text="Counted by the gateway, since the upstream did not say.")
    stream = models.BooleanField("streamed")
    outcome = models.CharField(max_length=12, choices=OUTCOME_CHOICES)
    operation = models.CharField(max_length=OPERATION_LENGTH)
    factory = models.CharField(max_length=FACTORY_LENGTH)
    llm_name = models.CharField("model", max_length=LLM_NAME_LENGTH)
    model = models.CharField("asked for", max_length=MODEL_LENGTH)
    route = models.CharField(max_length=LLM_NAME_LENGTH)
    error_code = models.CharField(max_length=CODE_LENGTH)
    attempts = models.JSONField(null=True, help_text="Model, result and ms of each; empty when the first one answered.")
    request_id = models.CharField("request ID", max_length=LABEL_LENGTH)
    end_user = models.CharField(max_length=LABEL_LENGTH)

    objects = UsageRecordQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-started_at"]
        indexes: ClassVar = [
            models.Index(fields=["started_at"], name="usage_newest"),
            models.Index(fields=["tenant_id", "started_at"], name="usage_of_tenant"),
            models.Index(fields=["token_id", "started_at"], name="usage_of_token"),
            models.Index(fields=["tenant_llm_id", "started_at"], name="usage_of_model"),
            models.Index(
                fields=["outcome", "tenant_id", "started_at"],
                condition=~Q(outcome=Outcome.COMPLETE.value),
                name="usage_not_complete",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def target(self) -> str:
        """The model that answered, or was tried last, as it is called."""
        return called(self.factory, self.llm_name, of_service=not self.tenant_llm_id)

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens that went in; None if unknown."""
        return _sum((self.input_tokens, self.cached_input_tokens, self.cache_write_tokens, self.audio_input_tokens))

    @property
    def completion_tokens(self) -> int | None:
        """All tokens that came out; None if unknown."""
        return _sum((self.output_tokens, self.reasoning_tokens, self.audio_output_tokens))


class UsageDailyQuerySet(models.QuerySet["UsageDaily"]):
    def for_tenant(self, tenant_id: str) -> UsageDailyQuerySet:
        return self.filter(tenant_id=tenant_id)

    def between(self, first: date, last: date) -> UsageDailyQuerySet:
        """Of these days, both included."""
        return self.filter(day__gte=first, day__lte=last)

    def totals(self) -> dict[str, Any]:
        """The sum of each measure, 0 when there are no rows."""
        found = self.order_by().aggregate(**{name: Sum(name) for name in MEASURES})
        return {name: value or 0 for name, value in found.items()}


class UsageDaily(models.Model):
    """What a token used of a model on a day (UTC). Exactly the sum of the day's records: both are written at once."""

    id = models.BigAutoField(primary_key=True)
    tenant_id = models.CharField("tenant ID", max_length=ID_LENGTH)
    day = models.DateField(help_text="UTC, by when a call began.")
    token_id = models.CharField("token ID", max_length=ID_LENGTH, blank=True, help_text="Empty: called from Python.")
    tenant_llm_id = models.BigIntegerField("tenant model ID", default=0, help_text="0: none was found.")
    factory = models.CharField(max_length=FACTORY_LENGTH, blank=True)
    llm_name = models.CharField("model", max_length=LLM_NAME_LENGTH, blank=True)
    operation = models.CharField(max_length=OPERATION_LENGTH)
    calls = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0, help_text="Calls that delivered nothing.")
    estimated = models.BigIntegerField(default=0, help_text="Calls whose counts are estimates.")
    unpriced = models.BigIntegerField(default=0, help_text="Calls that delivered something and whose cost is unknown.")
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    audio_input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    audio_output_tokens = models.BigIntegerField(default=0)
    characters = models.BigIntegerField(default=0)
    audio_ms = models.BigIntegerField("audio in ms", default=0)
    searches = models.BigIntegerField(default=0)
    pages = models.BigIntegerField(default=0)
    cost = MoneyField("cost in USD", default=Decimal(0), help_text="Of the calls that are priced.")

    objects = UsageDailyQuerySet.as_manager()

    class Meta:
        verbose_name = "daily usage"
        verbose_name_plural = "daily usage"
        ordering: ClassVar = ["-day", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["day"], name="usagedaily_newest"),
            models.Index(fields=["tenant_llm_id"], name="usagedaily_of_model"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant_id", "day", "token_id", "tenant_llm_id", "factory", "llm_name", "operation"],
                name="usagedaily_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.target}"

    @property
    def target(self) -> str:
        """The model as it is called."""
        return called(self.factory, self.llm_name, of_service=not self.tenant_llm_id)


DIMENSIONS = ("tenant_id", "day", "token_id", "tenant_llm_id", "factory", "llm_name", "operation")
MEASURES = ("calls", "errors", "estimated", "unpriced", *COUNTS, "cost")


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
