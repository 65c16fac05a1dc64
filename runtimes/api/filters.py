"""What lists of services and of their models may be narrowed to."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from providers.fields import TYPE_CHOICES
from runtimes import drivers
from runtimes.api.pages import Order
from runtimes.drivers.base import CAPABILITIES
from runtimes.models import Health, LLMService, ModelState, ModelType, ServiceModel

SERVICE_ORDERS = {
    "name": ("name",),
    "type": ("type",),
    "state": ("health",),
    "latency_ms": ("latency_ms",),
    "checked_at": ("checked_at",),
}
MODEL_ORDERS = {
    "name": ("service__name", "name"),
    "service": ("service__name",),
    "type": ("type",),
    "state": ("state",),
    "size": ("size_bytes",),
    "parameters": ("parameters",),
    "max_tokens": ("max_tokens",),
    "modified_at": ("modified_at",),
}
TRAITS = ("streaming", "instructed", "coding", "tooling", "is_mlx", "is_gguf")


class ServiceFilter(filters.FilterSet):
    name = filters.CharFilter(lookup_expr="icontains", help_text="A part of the name.")
    type = filters.CharFilter(help_text="Its driver.")
    state = filters.ChoiceFilter(field_name="health", choices=Health.choices)
    capability = filters.ChoiceFilter(choices=[(name, name) for name in CAPABILITIES], method="that_can")
    is_default = filters.BooleanFilter()
    order = Order(SERVICE_ORDERS, help_text="name unless told.")

    def that_can(self, rows: QuerySet[LLMService], name: str, value: str) -> QuerySet[LLMService]:
        """As `calls.capabilities` has it: what a look found counts more than what a driver declares."""
        declared = [type for type, driver in drivers.installed().items() if value in driver.capabilities]
        found = Q(**{f"capabilities__{value}": True})
        return rows.filter(found | (Q(type__in=declared) & ~Q(capabilities__has_key=value)))


class ModelFilter(filters.FilterSet):
    name = filters.CharFilter(lookup_expr="icontains", help_text="A part of the name that its service knows it by.")
    service = filters.CharFilter(field_name="service__name", help_text="The service's exact name.")
    type = filters.ChoiceFilter(choices=ModelType.choices)
    model_type = filters.ChoiceFilter(
        choices=TYPE_CHOICES, method="of_type", help_text="In the words of the catalogue."
    )
    state = filters.ChoiceFilter(choices=ModelState.choices)
    capability = filters.ChoiceFilter(choices=[(name, name) for name in TRAITS], method="that_is")
    order = Order(MODEL_ORDERS, help_text="name unless told.")

    def of_type(self, rows: QuerySet[ServiceModel], name: str, value: str) -> QuerySet[ServiceModel]:
        return rows.filter(model_types__contains=value)

    def that_is(self, rows: QuerySet[ServiceModel], name: str, value: str) -> QuerySet[ServiceModel]:
        return rows.filter(**{value: True})
