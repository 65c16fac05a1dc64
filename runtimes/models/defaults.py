"""What calls get that say neither which model they want nor how it is to answer."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

THE_ONE = 1


class CallDefaults(models.Model):
    """One row for the installation; the service such calls go to is the one that `is_default`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE, editable=False)
    temperature = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(2.0)],
        help_text="0 to 2; empty: the model's own.",
    )
    max_tokens = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Of an answer; empty: the model's own."
    )

    class Meta:
        verbose_name = verbose_name_plural = "defaults of calls"
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=THE_ONE), name="call_defaults_one_row")]

    def __str__(self) -> str:
        return "defaults"

    @classmethod
    def current(cls) -> CallDefaults:
        """The row, or one that says nothing."""
        return cls.objects.filter(pk=THE_ONE).first() or cls()
