"""How the catalogue's lists can be narrowed down."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import DropdownFilter, RadioFilter
from providers import dialects
from providers.catalog import diff
from providers.fields import TYPE_CHOICES
from providers.models import LLMFactory


class TypeFilter(DropdownFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return TYPE_CHOICES

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        known = {kind for kind, _ in TYPE_CHOICES}
        return queryset.filter(model_types__contains=self.value()) if self.value() in known else queryset


class DialectFilter(DropdownFilter):
    """The dialects that are in use, and whether each is installed."""

    title = "dialect"
    parameter_name = "dialect"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        used = LLMFactory.objects.order_by("dialect").values_list("dialect", flat=True).distinct()
        known = dialects.names()
        return [(name, name if name in known else f"{name} (not installed)") for name in used]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(dialect=self.value()) if self.value() else queryset


class PriceFilter(RadioFilter):
    title = "price"
    parameter_name = "priced"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "priced"), ("no", "unpriced"), (diff.OPERATOR, "set by hand")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.exclude(price_source="")
            case "no":
                return queryset.filter(price_source="")
            case diff.OPERATOR:
                return queryset.filter(price_source=diff.OPERATOR)
        return queryset
