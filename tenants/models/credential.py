"""A tenant's keys, and the models it may use through them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.fields import SecretField
from core.ids import ID_LENGTH, new_id
from core.secrets import OpenSecret, Owner, unseal
from providers.errors import Verdict
from providers.fields import ModelTypesField
from providers.models import DEFAULT_MAX_TOKENS, LLM, STATUS_CHOICES, VALID, LLMFactory
from tenants.models.tenant import Tenant

VERDICT_CHOICES = [(verdict.value, verdict.value.replace("_", " ")) for verdict in Verdict]


class CredentialState(models.TextChoices):
    DRAFT = "draft"  # being tested before it is saved; not in any list, never used for a call
    UNTESTED = "untested"
    OK = "ok"
    FAILING = "failing"  # still used: the last tests failed for a reason that may pass
    QUARANTINED = "quarantined"  # not used until a test succeeds again


UNUSABLE = (CredentialState.DRAFT, CredentialState.QUARANTINED)


class CredentialQuerySet(models.QuerySet["Credential"]):
    def for_tenant(self, tenant: Tenant | str) -> CredentialQuerySet:
        return self.filter(tenant=tenant)

    def saved(self) -> CredentialQuerySet:
        return self.exclude(state=CredentialState.DRAFT)

    def usable(self) -> CredentialQuerySet:
        return self.filter(status=VALID).exclude(state__in=UNUSABLE)


class Credential(models.Model):
    """One secret of one tenant for one factory, and the address it may be sent to."""

    PURPOSE = "credential"

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="credentials")
    factory = models.ForeignKey(LLMFactory, on_delete=models.PROTECT, related_name="credentials")
    label = models.CharField(max_length=100, default="default")
    base_url = models.CharField("base URL", max_length=255, blank=True, help_text="Empty: the factory's own.")
    fields = models.JSONField(default=dict, blank=True, help_text="What is not secret: region, API version, …")
    secret = SecretField()
    secret_last4 = models.CharField(max_length=4, blank=True, editable=False)
    secret_fingerprint = models.CharField(max_length=16, blank=True, editable=False)
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    state = models.CharField(max_length=12, choices=CredentialState.choices, default=CredentialState.UNTESTED)
    verdict = models.CharField(max_length=16, choices=VERDICT_CHOICES, default=Verdict.UNTESTED.value)
    reason = models.CharField(max_length=500, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="Failed tests in a row.")
    checked_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    replaces = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, editable=False)
    plan = models.JSONField(default=dict, blank=True, editable=False, help_text="What a draft will save once it works.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = CredentialQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["factory__name", "label", "id"]
        permissions: ClassVar = [("operate_credential", "Can test, enable and disable credential")]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "factory"], name="credential_of_tenant"),
            models.Index(fields=["next_check_at"], name="credential_due"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "factory", "label"],
                condition=~Q(state="draft"),
                name="credential_label_once",
            ),
            models.CheckConstraint(condition=Q(state__in=CredentialState.values), name="credential_state_known"),
        ]

    def __str__(self) -> str:
        return f"{self.factory.name} ({self.label})"

    @property
    def owner(self) -> Owner:
        """Whom its secret is sealed for."""
        return Owner(self.tenant_id, self.id, self.PURPOSE)

    @property
    def effective_base_url(self) -> str:
        """Where calls go; its secret is sealed for this origin."""
        return self.base_url or self.factory.base_url_for(self.fields)

    def open_secret(self) -> OpenSecret | None:
        """The secret, ready to be revealed to its origin; None for a keyless credential. Raises SecretError."""
        return None if self.secret is None else unseal(self.secret, owner=self.owner)


class TenantLLMQuerySet(models.QuerySet["TenantLLM"]):
    def for_tenant(self, tenant: Tenant | str) -> TenantLLMQuerySet:
        return self.filter(tenant=tenant)

    def saved(self) -> TenantLLMQuerySet:
        return self.exclude(credential__state=CredentialState.DRAFT)

    def usable(self) -> TenantLLMQuerySet:
        """What a call may be sent to: enabled all the way up to the catalogue, the credential not quarantined."""
        return self.filter(
            Q(llm=None) | Q(llm__status=VALID), status=VALID, credential__status=VALID, factory__status=VALID
        ).exclude(credential__state__in=UNUSABLE)


class TenantLLM(models.Model):
    """A tenant's right to use one model through one credential."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tenant_llms")
    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="tenant_llms")
    factory = models.ForeignKey(LLMFactory, on_delete=models.PROTECT, related_name="tenant_llms")
    llm = models.ForeignKey(
        LLM,
        verbose_name="catalogue model",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tenant_llms",
    )
    llm_name = models.CharField("name", max_length=160)
    model_types = ModelTypesField()
    max_tokens = models.PositiveIntegerField(default=DEFAULT_MAX_TOKENS)
    used_tokens = models.PositiveBigIntegerField(default=0)
    is_tools = models.BooleanField("tools", null=True, blank=True, help_text="Unset: as the catalogue says.")
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    verdict = models.CharField(max_length=16, choices=VERDICT_CHOICES, default=Verdict.UNTESTED.value)
    checked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantLLMQuerySet.as_manager()

    class Meta:
        verbose_name = "tenant model"
        ordering: ClassVar = ["tenant_id", "factory_id", "llm_name", "id"]
        permissions: ClassVar = [("operate_tenantllm", "Can test, enable and disable tenant model")]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "factory", "llm_name"], name="tenantllm_lookup"),
            models.Index(fields=["tenant", "llm_name"], name="tenantllm_by_name"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["credential", "llm_name"], name="tenantllm_once_per_credential"),
            models.CheckConstraint(condition=~Q(model_types=""), name="tenantllm_has_a_type"),
            models.CheckConstraint(condition=~Q(llm_name=""), name="tenantllm_has_a_name"),
            models.CheckConstraint(condition=Q(max_tokens__gt=0), name="tenantllm_max_tokens_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.llm_name}@{self.factory.name}"

    @property
    def supports_tools(self) -> bool:
        """As the tenant was told, else as the catalogue says."""
        return bool(self.llm and self.llm.is_tools) if self.is_tools is None else self.is_tools

    @property
    def is_usable(self) -> bool:
        """The same as `usable()`, of a row that is here already."""
        enabled = self.status == self.credential.status == self.factory.status == VALID
        return enabled and (self.llm is None or self.llm.status == VALID) and self.credential.state not in UNUSABLE
