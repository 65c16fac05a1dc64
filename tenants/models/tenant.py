"""Tenants, and who belongs to them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from core.ids import ID_LENGTH, new_id
from providers.llm_types import LLMType
from providers.models import STATUS_CHOICES, VALID

# The column that holds a tenant's default model for each type, as RAGFlow's wire names them.
DEFAULT_MODEL_COLUMNS = {
    LLMType.CHAT: "llm_id",
    LLMType.EMBEDDING: "embd_id",
    LLMType.RERANK: "rerank_id",
    LLMType.SPEECH2TEXT: "asr_id",
    LLMType.IMAGE2TEXT: "img2txt_id",
    LLMType.TTS: "tts_id",
    LLMType.OCR: "ocr_id",
}


class Tenant(models.Model):
    """The unit of isolation: everything a tenant owns is seen by its members and nobody else."""

    id = models.CharField("ID", primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    name = models.CharField(max_length=100)
    email = models.EmailField("e-mail address", blank=True, help_text="Whom to ask about this tenant.")
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    llm_id = models.CharField("default chat model", max_length=256, blank=True)
    embd_id = models.CharField("default embedding model", max_length=256, blank=True)
    rerank_id = models.CharField("default rerank model", max_length=256, blank=True)
    asr_id = models.CharField("default speech2text model", max_length=256, blank=True)
    img2txt_id = models.CharField("default image2text model", max_length=256, blank=True)
    tts_id = models.CharField("default TTS model", max_length=256, blank=True)
    ocr_id = models.CharField("default OCR model", max_length=256, blank=True)
    parser_ids = models.CharField(max_length=256, blank=True, help_text="Kept for RAGFlow clients, not used here.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        permissions: ClassVar = [("operate_tenant", "Can enable and disable tenant")]
        indexes: ClassVar = [models.Index(fields=["name", "id"], name="tenant_by_name")]
        constraints: ClassVar = [models.CheckConstraint(condition=~models.Q(name=""), name="tenant_has_a_name")]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


MANAGERS = (Role.OWNER, Role.ADMIN)


class Membership(models.Model):
    """A user's role in a tenant: owners and admins change things, members look and call."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)
    founding = models.BooleanField(default=False, editable=False, help_text="Made with the tenant for its owner.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["tenant_id", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.tenant}"
