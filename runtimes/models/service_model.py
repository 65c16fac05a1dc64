"""A model that a service has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.db.models import Q

from core.clock import now
from providers.fields import ModelTypesField
from runtimes.models.service import LLMService


class ModelState(models.TextChoices):
    UNKNOWN = "unknown"
    LOADED = "loaded"
    LOADING = "loading"
    NOT_LOADED = "not loaded"
    DOWNLOADING = "downloading"
    ERROR = "error"
    REMOVING = "removing"
    REMOVED = "removed"


class ModelType(models.TextChoices):
    """The kinds of model in runtimes' own words; `model_types` has them in ours."""

    LLM = "llm"
    VLM = "vlm"
    EMBEDDINGS = "embeddings"
    VISION = "vision"
    RERANK = "rerank"
    AUDIO = "audio"
    UNKNOWN = "unknown"


class ServiceModelQuerySet(models.QuerySet["ServiceModel"]):
    def for_tenant(self, tenant_id: str) -> ServiceModelQuerySet:
        return self.present().filter(service__in=LLMService.objects.for_tenant(tenant_id))

    def named(self, full_names: Iterable[str]) -> ServiceModelQuerySet:
        """Those that have one of these names, each `service~model`."""
        wanted = Q(pk__in=())
        for name in full_names:
            service, tilde, model = name.partition("~")
            if tilde and "\0" not in name:
                wanted |= Q(service__name=service, name=model)
        return self.filter(wanted)

    def present(self) -> ServiceModelQuerySet:
        return self.exclude(state=ModelState.REMOVED)

    def loaded(self) -> ServiceModelQuerySet:
        return self.filter(state=ModelState.LOADED)


class ServiceModel(models.Model):
    """One model of one service. What a runtime does not say is empty or None, never made up."""

    service = models.ForeignKey(LLMService, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=255, help_text="As the service calls it.")
    type = models.CharField(max_length=12, choices=ModelType.choices, default=ModelType.UNKNOWN)
    model_types = ModelTypesField(blank=True)
    state = models.CharField(max_length=12, choices=ModelState.choices, default=ModelState.UNKNOWN)
    description = models.TextField(blank=True)
    publisher = models.CharField(max_length=128, blank=True)
    architecture = models.CharField(max_length=64, blank=True)
    quantization = models.CharField(max_length=32, blank=True)
    parameters = models.BigIntegerField(null=True, blank=True, help_text="How many there are.")
    max_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="Context window.")
    size_bytes = models.BigIntegerField(null=True, blank=True)
    streaming = models.BooleanField(default=False)
    instructed = models.BooleanField(default=False)
    coding = models.BooleanField(default=False)
    tooling = models.BooleanField(default=False)
    is_mlx = models.BooleanField("MLX", default=False)
    is_gguf = models.BooleanField("GGUF", default=False)
    runtime_name = models.CharField(max_length=64, blank=True, help_text="What runs it: llama.cpp, MLX, …")
    file_path = models.CharField(max_length=1024, blank=True)
    modified_at = models.DateTimeField(null=True, blank=True)
    detail = models.JSONField(default=dict, blank=True, help_text="What its driver needs to find it again.")
    first_seen_at = models.DateTimeField(default=now, editable=False)
    seen_at = models.DateTimeField(default=now, editable=False)

    objects = ServiceModelQuerySet.as_manager()

    class Meta:
        verbose_name = "model of a service"
        verbose_name_plural = "models of services"
        ordering: ClassVar = ["service__name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service", "name"], name="service_model_once"),
            models.CheckConstraint(condition=~Q(name=""), name="service_model_has_a_name"),
            models.CheckConstraint(condition=Q(state__in=ModelState.values), name="service_model_state_known"),
            models.CheckConstraint(condition=Q(type__in=ModelType.values), name="service_model_type_known"),
        ]

    def __str__(self) -> str:
        return self.full_name

    def is_for(self, tenant_id: str) -> bool:
        """Whether it is there, and its service one that this tenant may call."""
        return self.state != ModelState.REMOVED and self.service.is_for(tenant_id)

    @property
    def full_name(self) -> str:
        """`service~model`, by which it is called."""
        return f"{self.service.name}~{self.name}"
