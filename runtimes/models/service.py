"""A runtime or a cloud endpoint that is discovered and watched."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from core.clock import now
from core.fields import SecretField
from core.ids import ID_LENGTH, new_id
from core.netguard import parse_networks
from core.secrets import OpenSecret, Owner, unseal
from providers.base_urls import clean_base_url
from providers.fields import ChangedAtField
from runtimes.drivers import installed

NAME = RegexValidator(r"^[a-z0-9][a-z0-9._-]*\Z", "Lower-case letters, digits, dots, dashes and underscores.")
ENVIRONMENT_NAME = RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*\Z", "The name of an environment variable.")
MAX_URLS = 16
LONGEST_TIMEOUT_S = 24 * 3600


class Audience(models.TextChoices):
    """Which tenants may call a service."""

    ALL = "all", "all tenants"
    SOME = "some", "some tenants"
    NONE = "none", "nobody"


class Health(models.TextChoices):
    """What the last looks at a service found."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


class LLMServiceQuerySet(models.QuerySet["LLMService"]):
    def enabled(self) -> LLMServiceQuerySet:
        return self.filter(is_enabled=True)

    def for_tenant(self, tenant_id: str) -> LLMServiceQuerySet:
        """Those that this tenant may call and see."""
        some = ServiceTenant.objects.filter(tenant_id=tenant_id).values("service")
        return self.enabled().filter(Q(audience=Audience.ALL) | Q(audience=Audience.SOME, pk__in=some))

    def due(self, at: Any) -> LLMServiceQuerySet:
        """Those to be looked at now."""
        return self.enabled().filter(Q(next_check_at__isnull=True) | Q(next_check_at__lte=at))


class LLMService(models.Model):
    """A reachable runtime or cloud endpoint. Its models are called `service~model`; `type` names its driver."""

    PURPOSE = "service"

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    name = models.CharField(max_length=64, unique=True, validators=[NAME], help_text="The part before the “~”.")
    type = models.CharField(max_length=32, help_text="The driver that speaks to it.")
    description = models.CharField(max_length=255, blank=True)
    is_enabled = models.BooleanField("enabled", default=False, help_text="Watched, listed and callable.")
    api_format = models.CharField(
        max_length=32, blank=True, help_text="The wire format of its calls (a dialect); empty: the driver's own."
    )
    urls = models.JSONField(default=list, blank=True, help_text="One or several base URLs: calls are balanced.")
    secret = SecretField()
    secret_last4 = models.CharField(max_length=4, blank=True, editable=False)
    secret_fingerprint = models.CharField(max_length=16, blank=True, editable=False)
    api_key_env_var = models.CharField(
        "API key variable",
        max_length=128,
        blank=True,
        validators=[ENVIRONMENT_NAME],
        help_text="The environment variable that holds its key; a stored key wins.",
    )
    short_timeout_s = models.PositiveIntegerField(
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_TIMEOUT_S)],
        help_text="For looks at its health and its models.",
    )
    long_timeout_s = models.PositiveIntegerField(
        default=180,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_TIMEOUT_S)],
        help_text="For completions, embeddings and loading a model.",
    )
    verify_cert = models.BooleanField("verify certificate", default=True)
    enable_discovery = models.BooleanField("discover models", default=True, help_text="List its models by itself.")
    allowed_networks = models.JSONField(
        default=list,
        blank=True,
        help_text='Non-public networks that staff approved for it: ["127.0.0.0/8"].',
    )
    audience = models.CharField(max_length=4, choices=Audience.choices, default=Audience.ALL)
    options = models.JSONField(default=dict, blank=True, help_text="What its driver takes beside: see the docs.")
    is_default = models.BooleanField("default", default=False, help_text="Where calls go that name no service.")

    health = models.CharField(max_length=8, choices=Health.choices, default=Health.UNKNOWN, editable=False)
    latency_ms = models.PositiveIntegerField(null=True, blank=True, editable=False)
    version = models.CharField(max_length=64, blank=True, editable=False)
    capabilities = models.JSONField(
        default=dict, blank=True, editable=False, help_text="Where a look at it found other than its driver declares."
    )
    error = models.JSONField(default=dict, blank=True, editable=False, help_text="code, message, hint")
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="Failed looks in a row.")
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    listed_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="When its models were listed.")
    up_since = models.DateTimeField(null=True, blank=True, editable=False)
    next_check_at = models.DateTimeField(null=True, blank=True, editable=False)
    found_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it was seen on its usual port without being enabled."
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = ChangedAtField(default=now, editable=False)

    objects = LLMServiceQuerySet.as_manager()

    class Meta:
        verbose_name = "service"
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [
            ("operate_llmservice", "Can test services and manage their models"),
            ("approve_networks", "Can let services be reached on private networks"),
        ]
        indexes: ClassVar = [models.Index(fields=["is_enabled", "next_check_at"], name="service_due")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(audience__in=Audience.values), name="service_audience_known"),
            models.CheckConstraint(condition=Q(health__in=Health.values), name="service_health_known"),
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="service_one_default"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not isinstance(self.urls, list) or len(self.urls) > MAX_URLS:
            raise ValidationError({"urls": f"A list of at most {MAX_URLS} URLs."})
        try:
            inside = (driver := installed().get(self.type)) is not None and driver.in_process
            self.urls = list(dict.fromkeys(clean_base_url(url, in_process=inside) for url in self.urls))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValidationError({"urls": f"Not a base URL: {error}"}) from error
        try:
            parse_networks(self.allowed_networks)
        except (ValueError, TypeError) as error:
            raise ValidationError({"allowed_networks": f"Not a list of networks: {error}"}) from error

    @property
    def owner(self) -> Owner:
        """Whom its key is sealed for."""
        return Owner("", self.id, self.PURPOSE)

    def is_for(self, tenant_id: str) -> bool:
        """Whether this tenant may call and see it; no query, if its `tenants` were prefetched."""
        if not self.is_enabled or self.audience == Audience.NONE:
            return False
        return self.audience == Audience.ALL or any(one.tenant_id == tenant_id for one in self.tenants.all())

    @property
    def is_up(self) -> bool:
        return self.health == Health.UP

    def open_secret(self) -> OpenSecret | None:
        """The stored key, ready to be revealed to its origins; None without one. Raises SecretError."""
        return None if self.secret is None else unseal(self.secret, owner=self.owner)


class ServiceTenant(models.Model):
    """A tenant that may use a service whose audience is `some`."""

    service = models.ForeignKey(LLMService, on_delete=models.CASCADE, related_name="tenants")
    tenant_id = models.CharField(max_length=ID_LENGTH)

    class Meta:
        ordering: ClassVar = ["tenant_id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["service", "tenant_id"], name="service_tenant_once")]

    def __str__(self) -> str:
        return f"{self.service_id} {self.tenant_id}"
