"""A tenant's public names for models: what applications call, and which models answer for it."""

from __future__ import annotations

from typing import ClassVar, cast

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from core.ids import ID_LENGTH, new_id
from providers import errors
from providers.fields import TYPE_CHOICES
from providers.models import INVALID, STATUS_CHOICES, VALID
from runtimes.models import ServiceModel
from tenants.models.credential import TenantLLM
from tenants.models.tenant import Tenant

MAX_TIMEOUT_S, MAX_RETRIES, MAX_POSITION, MAX_WEIGHT = 3600, 10, 100, 1000

NAME = RegexValidator(
    r"^(?!.*(?:___|//|\.\.))[^\W_](?:[\w.:/+-]*[\w.:+-])?\Z",
    "A letter or digit, then letters, digits and . _ - : / +, without “___”, “//”, “..” or a “/” at its end.",
)


class Strategy(models.TextChoices):
    ORDERED = "ordered", "in order of position"
    WEIGHTED = "weighted", "by weight alone"


class OnError(models.TextChoices):
    """The failures that a target may be kept for, by the codes of `providers.errors`."""

    CONTEXT_LENGTH = errors.ContextLengthExceeded.code, "prompt too long"
    CONTENT_FILTER = errors.ContentFiltered.code, "content filtered"
    RATE_LIMIT = errors.RateLimited.code, "rate limited"
    QUOTA = errors.QuotaExceeded.code, "quota used up"
    OVERLOADED = errors.Overloaded.code, "overloaded"
    TIMED_OUT = errors.TimedOut.code, "timed out"


class RouteQuerySet(models.QuerySet["Route"]):
    def for_tenant(self, tenant: Tenant | str) -> RouteQuerySet:
        return self.filter(tenant=tenant)

    def valid(self) -> RouteQuerySet:
        return self.filter(status=VALID)


class Route(models.Model):
    """A name that a tenant's applications call, and the models behind it."""

    id = models.CharField(primary_key=True, max_length=ID_LENGTH, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="routes")
    name = models.CharField(max_length=100, validators=[NAME], help_text="What applications name as the model.")
    model_type = models.CharField(max_length=16, choices=TYPE_CHOICES)
    strategy = models.CharField(
        max_length=8,
        choices=Strategy.choices,
        default=Strategy.ORDERED,
        help_text="The lowest position first, or all by weight.",
    )
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)
    description = models.CharField(max_length=500, blank=True)
    timeout_s = models.PositiveIntegerField(
        "timeout in s",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_TIMEOUT_S)],
        help_text="How long a call may take in all; empty: as everywhere.",
    )
    max_retries = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_RETRIES)],
        help_text="How often the targets are tried again once all have failed; empty: as everywhere.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RouteQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["tenant_id", "name"]
        permissions: ClassVar = [("operate_route", "Can enable and disable route")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "name"], name="route_name_once"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(name__contains="@") & ~Q(name__contains="~"), name="route_name_unmistakable"
            ),
            models.CheckConstraint(condition=Q(strategy__in=Strategy.values), name="route_strategy_known"),
            models.CheckConstraint(condition=Q(status__in=[VALID, INVALID]), name="route_status_known"),
            models.CheckConstraint(
                condition=Q(timeout_s=None) | Q(timeout_s__range=(1, MAX_TIMEOUT_S)), name="route_timeout_bounded"
            ),
            models.CheckConstraint(
                condition=Q(max_retries=None) | Q(max_retries__range=(0, MAX_RETRIES)), name="route_retries_bounded"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_usable(self) -> bool:
        """Whether calls can be sent anywhere."""
        first = (target for target in self.targets.all() if not target.only_on)
        return self.status == VALID and any(target.is_usable for target in first)


class RouteTargetQuerySet(models.QuerySet["RouteTarget"]):
    def shown(self) -> RouteTargetQuerySet:
        """With all that is needed to name them and to say whether they are usable, without secrets."""
        related = self.select_related(
            "route", "tenant_llm__factory", "tenant_llm__credential", "tenant_llm__llm", "service_model__service"
        )
        unread = ("tenant_llm__credential__secret", "tenant_llm__factory__logo", "service_model__service__secret")
        return related.defer(*unread).prefetch_related("service_model__service__tenants")


class RouteTarget(models.Model):
    """One of the models behind a route: a tenant's own, through one credential, or a service's. It goes with it."""

    id = models.BigAutoField(primary_key=True)
    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="targets")
    tenant_llm = models.ForeignKey(
        TenantLLM,
        verbose_name="model",
        on_delete=models.CASCADE,
        related_name="route_targets",
        null=True,
        blank=True,
        help_text="One of the tenant's own.",
    )
    service_model = models.ForeignKey(
        ServiceModel,
        verbose_name="or a service's model",
        on_delete=models.CASCADE,
        related_name="route_targets",
        null=True,
        blank=True,
        help_text="Of a service that the tenant may use.",
    )
    position = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_POSITION)],
        help_text="The lowest is tried first; those of one position share the calls by weight.",
    )
    weight = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)]
    )
    only_on = models.JSONField(
        "only after", default=list, blank=True, help_text="Tried only after one of these failures; empty: always."
    )
    status = models.CharField(max_length=1, choices=STATUS_CHOICES, default=VALID)

    objects = RouteTargetQuerySet.as_manager()

    class Meta:
        verbose_name = "target"
        ordering: ClassVar = ["position", "id"]
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["route", "tenant_llm"], name="target_once_per_route"),
            models.UniqueConstraint(fields=["route", "service_model"], name="target_of_service_once_per_route"),
            models.CheckConstraint(
                condition=Q(tenant_llm__isnull=False, service_model__isnull=True)
                | Q(tenant_llm__isnull=True, service_model__isnull=False),
                name="target_leads_to_one_model",
            ),
            models.CheckConstraint(condition=Q(position__range=(1, MAX_POSITION)), name="target_position_bounded"),
            models.CheckConstraint(condition=Q(weight__range=(1, MAX_WEIGHT)), name="target_weight_bounded"),
            models.CheckConstraint(condition=Q(status__in=[VALID, INVALID]), name="target_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.model} in {self.route}"

    @property
    def model(self) -> TenantLLM | ServiceModel:
        """What it leads to."""
        return cast("TenantLLM | ServiceModel", self.tenant_llm or self.service_model)

    @property
    def is_usable(self) -> bool:
        """Whether calls to an enabled route can be sent to it."""
        model = self.model
        free = model.is_usable if isinstance(model, TenantLLM) else model.is_for(self.route.tenant_id)
        return self.status == VALID and self.fits and free

    @property
    def fits(self) -> bool:
        """Whether its model does what the route is for."""
        return self.route.model_type in (self.model.model_types or ())

    def clean(self) -> None:
        if (self.tenant_llm_id is None) == (self.service_model_id is None):
            raise ValidationError("Either a model of the tenant, or one of a service.")
        if self.tenant_llm is not None and self.tenant_llm.tenant_id != self.route.tenant_id:
            raise ValidationError({"tenant_llm": "This is another tenant's model."})
        if not isinstance(self.only_on, list) or not set(map(str, self.only_on)) <= set(OnError.values):
            raise ValidationError({"only_on": f"A list of: {', '.join(OnError.values)}."})
