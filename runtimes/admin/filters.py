"""How the lists of services and of their models can be narrowed down."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import DropdownFilter, RadioFilter
from runtimes import drivers
from runtimes.admin.common import FEATURES
from runtimes.models import LLMService, ServiceModel


class DriverFilter(DropdownFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(driver.type, driver.label) for driver in drivers.installed().values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> QuerySet[LLMService]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class FoundFilter(RadioFilter):
    title = "found"
    parameter_name = "found"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "on its usual port, not enabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> QuerySet[LLMService]:
        if self.value() != "yes":
            return queryset
        return queryset.filter(found_at__isnull=False, is_enabled=False)


class FeatureFilter(DropdownFilter):
    title = "can"
    parameter_name = "can"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(FEATURES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[ServiceModel]) -> QuerySet[ServiceModel]:
        return queryset.filter(**{str(self.value()): True}) if self.value() in FEATURES else queryset
