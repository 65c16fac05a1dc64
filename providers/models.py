"""The catalogue: which vendors and runtimes there are, and which models they offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from core.clock import now
from core.netguard import parse_networks
from providers.base_urls import clean_base_url, fill_template, template_fields
from providers.catalog.secrecy import unveiled
from providers.fields import ChangedAtField, ModelTypesField
from providers.llm_types import LLMType
from providers.quirks import Quirks

VALID, INVALID = "1", "0"
STATUS_CHOICES = [(VALID, "enabled"), (INVALID, "disabled")]
DEFAULT_MAX_TOKENS = 8192


def plain_api_key() -> list[dict[str, Any]]:
    """What most vendors ask for: one secret."""
    return [{"name": "api_key", "label": "API key", "secret": True, "required": True}]


class Catalogued(models.Model):
    """What factories and models have in common: an operator's switch, and the memory of the last import."""

    tags = models.CharField(max_length=255, blank=True, help_text="Comma-separated, no spaces: LLM,TEXT EMBEDDING")
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    quirks = models.JSONField(
        default=dict, blank=True, help_text="Declared differences: see the quirks page of the docs."
    )
    source = models.CharField(max_length=32, blank=True, editable=False, help_text="The format it was imported from.")
    imported = models.JSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = ChangedAtField(default=now, editable=False)

    class Meta:
        abstract = True

    def clean(self) -> None:
        try:
            Quirks.from_data(self.quirks)
        except ValueError as error:
            raise ValidationError({"quirks": str(error)}) from error
        self.tags = ",".join(part.strip() for part in self.tags.split(",") if part.strip())


class LLMFactoryQuerySet(models.QuerySet["LLMFactory"]):
    def valid(self) -> LLMFactoryQuerySet:
        return self.filter(status=VALID)

    def visible(self) -> LLMFactoryQuerySet:
        """Enabled, and not internal."""
        return self.valid().filter(hidden=False)

    def offered(self) -> LLMFactoryQuerySet:
        """What this installation offers its tenants: ALLOWED_FACTORIES, or all that are visible when it names none."""
        visible = self.visible()
        return visible.filter(name__in=settings.ALLOWED_FACTORIES) if settings.ALLOWED_FACTORIES else visible


class LLMFactoryManager(models.Manager["LLMFactory"]):
    def get_by_natural_key(self, name: str) -> LLMFactory:
        return self.get(name=name)


class LLMFactory(Catalogued):
    """A vendor or a runtime brand. What makes it different from others is data on this row, never code."""

    name = models.CharField(max_length=128, unique=True)
    logo = models.TextField(blank=True)
    rank = models.IntegerField(default=0, help_text="Higher is shown first.")
    base_url = models.CharField(max_length=255, blank=True, help_text="Where its API lives; a tenant's own URL wins.")
    base_url_required = models.BooleanField(default=False, help_text="Tenants must say where theirs runs.")
    dialect = models.CharField(max_length=64, default="openai", help_text="The wire format it speaks.")
    signer = models.CharField(max_length=64, default="bearer", help_text="How its requests are authenticated.")
    credential_fields = models.JSONField(default=plain_api_key, blank=True)
    keyless = models.BooleanField(default=False, help_text="Works without a key.")
    self_deployed = models.BooleanField(default=False, help_text="Listed as available before a tenant configures it.")
    hidden = models.BooleanField(default=False, help_text="Internal: not offered to tenants.")
    name_suffix = models.CharField(
        max_length=32, blank=True, help_text="Added to stored model names (___VLLM), as RAGFlow clients expect."
    )
    price_provider = models.CharField(max_length=64, blank=True, help_text="Its id in genai-prices.")
    docs_url = models.URLField(blank=True, help_text="Where a person gets a key.")
    allowed_networks = models.JSONField(
        default=list, blank=True, help_text='Non-public networks its calls may reach: ["10.1.0.0/16"].'
    )
    history = HistoricalRecords(excluded_fields=["imported"])

    objects = LLMFactoryManager.from_queryset(LLMFactoryQuerySet)()

    class Meta:
        verbose_name = "factory"
        verbose_name_plural = "factories"
        ordering: ClassVar = ["-rank", "name"]
        indexes: ClassVar = [models.Index(fields=["status", "-rank", "name"], name="factory_listing")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(status__in=[VALID, INVALID]), name="factory_status_known"),
            models.CheckConstraint(condition=~models.Q(name=""), name="factory_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.name,)

    def clean(self) -> None:
        super().clean()
        try:
            parse_networks(self.allowed_networks)
        except (ValueError, TypeError) as error:
            raise ValidationError({"allowed_networks": f"Not a list of networks: {error}"}) from error
        before = LLMFactory.objects.filter(pk=self.pk).first() if self.pk else None
        if before and (names := unveiled(before.credential_fields, self.credential_fields)):
            raise ValidationError({"credential_fields": f"A secret stays one; name a new field: {', '.join(names)}."})

    def base_url_for(self, fields: Mapping[str, str]) -> str:
        """Where calls go for a credential with these plain fields that has no base URL of its own.

        Fields that do not fill the quirks' template, which are refused when they are entered, lead to `base_url`.
        """
        template, named = self.quirks.get("base_url"), self.quirks.get("region_base_urls") or {}
        try:
            regions = [fields.get(name) for name in template_fields(template or "")]
            own = next((named[region] for region in regions if region in named), None)
            return clean_base_url(own) if own else fill_template(template, fields) if template else self.base_url
        except ValueError:
            return self.base_url

    def fields_for(self, model_type: str | None) -> list[dict[str, Any]]:
        """The credential fields that apply to a model type (all of them for None)."""
        return [
            spec
            for spec in self.credential_fields
            if model_type is None or not spec.get("model_types") or model_type in spec["model_types"]
        ]


class LLMQuerySet(models.QuerySet["LLM"]):
    def valid(self) -> LLMQuerySet:
        return self.filter(status=VALID)

    def of_type(self, kind: LLMType | str) -> LLMQuerySet:
        return self.filter(model_types__contains=str(kind))


class LLMManager(models.Manager["LLM"]):
    def get_by_natural_key(self, factory: str, llm_name: str) -> LLM:
        return self.get(factory__name=factory, llm_name=llm_name)


class LLM(Catalogued):
    """A model that a factory offers."""

    factory = models.ForeignKey(LLMFactory, on_delete=models.CASCADE, related_name="llms")
    llm_name = models.CharField(max_length=128)
    model_types = ModelTypesField()
    max_tokens = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Context window; empty means unknown."
    )
    is_tools = models.BooleanField("tools", default=False, help_text="Supports tool calling.")
    input_price = models.DecimalField("USD per 1M input tokens", max_digits=14, decimal_places=6, null=True, blank=True)
    output_price = models.DecimalField(
        "USD per 1M output tokens", max_digits=14, decimal_places=6, null=True, blank=True
    )
    cached_input_price = models.DecimalField(
        "USD per 1M cached input tokens", max_digits=14, decimal_places=6, null=True, blank=True
    )
    price_detail = models.JSONField(
        default=dict, blank=True, help_text="Tiers and other units, as their source has them."
    )
    price_source = models.CharField(max_length=64, blank=True, help_text="Empty: unpriced. “operator”: set by hand.")
    priced_at = models.DateTimeField(null=True, blank=True)
    history = HistoricalRecords(excluded_fields=["imported"])

    objects = LLMManager.from_queryset(LLMQuerySet)()

    class Meta:
        verbose_name = "model"
        verbose_name_plural = "models"
        ordering: ClassVar = ["factory__name", "llm_name"]
        indexes: ClassVar = [
            models.Index(fields=["status", "factory"], name="llm_valid_of_factory"),
            models.Index(fields=["llm_name"], name="llm_by_name"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["factory", "llm_name"], name="llm_once_per_factory"),
            models.CheckConstraint(condition=models.Q(status__in=[VALID, INVALID]), name="llm_status_known"),
            models.CheckConstraint(condition=~models.Q(model_types=""), name="llm_has_a_type"),
            models.CheckConstraint(
                condition=models.Q(max_tokens__isnull=True) | models.Q(max_tokens__gt=0), name="llm_max_tokens_positive"
            ),
            *(
                models.CheckConstraint(
                    condition=models.Q(**{f"{column}__isnull": True}) | models.Q(**{f"{column}__gte": 0}),
                    name=f"llm_{column}_not_negative",
                )
                for column in ("input_price", "output_price", "cached_input_price")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.llm_name}@{self.factory.name}"

    def natural_key(self) -> tuple[str, str]:
        return (self.factory.name, self.llm_name)

    natural_key.dependencies = ["providers.llmfactory"]  # type: ignore[attr-defined]  # noqa: RUF012

    @property
    def is_priced(self) -> bool:
        return self.price_source != ""
