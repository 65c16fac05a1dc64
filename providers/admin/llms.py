"""The catalogue's models."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from core.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    actor_of,
    badge,
    display,
)
from providers.admin.common import CataloguedAdmin
from providers.admin.filters import PriceFilter, TypeFilter
from providers.admin.forms import LLMForm
from providers.models import LLM
from providers.services import curation


def dollars(price: Decimal | None) -> str:
    """$2.50, $0.075: at least cents, and no more digits than it has."""
    if price is None:
        return "–"
    text = f"{price.normalize():f}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents.ljust(2, '0')}"


def price_text(llm: LLM) -> str:
    """What it costs and who says so, or that nobody knows."""
    if not llm.is_priced:
        return badge("unpriced", "warning", "No price is known: it is not free of charge.")
    return format_html(
        '<span title="input / output, USD per 1M tokens; source: {}">{} / {}</span>',
        llm.price_source,
        dollars(llm.input_price),
        dollars(llm.output_price),
    )


@admin.register(LLM)
class LLMAdmin(CataloguedAdmin):
    form = LLMForm
    list_display = ("name", "factory", "types", "max_tokens", "is_tools", "price", "price_source", "state")
    list_select_related = ("factory",)
    list_filter = (
        ("factory", AutocompleteSelectFilter),
        TypeFilter,
        PriceFilter,
        ("is_tools", BooleanRadioFilter),
        ("status", ChoicesDropdownFilter),
    )
    search_fields = ("llm_name", "factory__name", "tags")
    autocomplete_fields = ("factory",)
    ordering = ("llm_name", "id")
    readonly_fields = ("price_source", "priced_at", "source", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("factory", "llm_name", "status", "model_types", "primary_type", "tags")}),
        ("What it can do", {"fields": ("max_tokens", "is_tools", "quirks")}),
        (
            "What it costs",
            {
                "fields": ("input_price", "output_price", "cached_input_price", "price_detail"),
                "description": "Empty means unpriced. A price you change here is kept by later imports.",
            },
        ),
        ("Where it comes from", {"fields": ("price_source", "priced_at", "source", "created_at", "updated_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "factory") if obj else self.readonly_fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change=change, labels={"llm_name": "Name"}, **kwargs)

    @display(description="model", ordering="llm_name")
    def name(self, llm: LLM) -> str:
        return llm.llm_name

    @display(description="types", ordering="model_types")
    def types(self, llm: LLM) -> str:
        return ", ".join(llm.model_types)

    @display(description="per 1M tokens", ordering="input_price")
    def price(self, llm: LLM) -> str:
        return price_text(llm)

    def save_model(self, request: HttpRequest, obj: LLM, form: Any, change: bool) -> None:
        curation.save_llm(obj, actor=actor_of(request))
