"""Limits and budgets: set here by staff, shown with how they stand."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from core.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    ReadOnly,
    ServiceForm,
    TabularInline,
    actor_of,
    adopt,
    badge,
    display,
    object_action,
)
from tenants.admin.common import Switched
from usage.admin.records import money
from usage.models import Budget, BudgetAlert, RateLimit
from usage.models.limits import AMOUNTS
from usage.services import alerts, budgets, limits, standing

UNKNOWN = "?"


class BoundAdmin(Switched, ModelAdmin):
    """What both pages share: whom it bounds is said once, and staff set it unless they say otherwise."""

    scope_fields: tuple[str, ...] = ()
    value_fields: tuple[Any, ...] = ()
    list_disable_select_all = True
    list_select_related: tuple[str, ...] = ("tenant", "token")
    ordering = ("-id",)
    object_actions: tuple[str, ...] = ("switch_on", "switch_off")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related(*self.list_select_related)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"set_by_staff": True, **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": (*self.scope_fields, *self.value_fields, "set_by_staff")}),)
        return (
            (None, {"fields": (*self.scope_fields, *self.value_fields, "status")}),
            ("How it stands", {"fields": ("stands", "set_by_staff", "created_at", "updated_at")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = ("stands", "created_at", "updated_at")
        return (*fixed, *self.scope_fields, "set_by_staff") if obj else fixed

    @display(description="for", ordering="token__name")
    def scope_label(self, row: Any) -> str:
        return str(row.token) if row.token else "the tenant"

    @display(description="set by", ordering="set_by_staff", label={"staff": "info", "tenant": ""})
    def set_by(self, row: Any) -> str:
        return "staff" if row.set_by_staff else "tenant"


@admin.register(RateLimit)
class RateLimitAdmin(BoundAdmin):
    form = ServiceForm
    list_display = ("tenant", "scope_label", "model_label", *AMOUNTS, "used_now", "set_by", "status_label")
    list_display_links = ("tenant", "scope_label")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("set_by_staff", BooleanRadioFilter),
        ("status", ChoicesDropdownFilter),
    )
    search_fields = ("tenant__name", "token__name", "model", "=id")
    autocomplete_fields = ("tenant", "token")
    scope_fields = ("tenant", "token", "model")
    value_fields = AMOUNTS

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        stands = standing.of_limits(rows)
        for row in rows:
            row.used = stands[row.pk].used

    @display(description="model", ordering="model")
    def model_label(self, row: RateLimit) -> str:
        return row.model or "all"

    @display(description="used now")
    def used_now(self, row: Any) -> str:
        """In the order of the numbers: requests, tokens, calls."""
        return " · ".join(UNKNOWN if used is None else f"{used:,}" for used in row.used.values())

    @display(description="used now")
    def stands(self, row: Any) -> str:
        used = standing.of_limits([row])[row.pk].used
        names = {"requests_per_minute": "requests", "tokens_per_minute": "tokens", "parallel": "running"}
        return ", ".join(f"{UNKNOWN if count is None else f'{count:,}'} {names[name]}" for name, count in used.items())

    def set_status(self, request: HttpRequest, rows: list[RateLimit], status: str) -> int:
        for row in rows:
            limits.update(row, status=status, actor=actor_of(request), as_staff=True)
        return len(rows)

    def save_model(self, request: HttpRequest, obj: RateLimit, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        amounts: Any = {name: given[name] for name in AMOUNTS}
        if change:
            saved = limits.update(obj, **amounts, status=given["status"], actor=actor, as_staff=True)
        else:
            scope = {name: given[name] for name in (*self.scope_fields, "set_by_staff")}
            saved = limits.create(**scope, **amounts, actor=actor)
        adopt(obj, saved)

    def delete_model(self, request: HttpRequest, obj: RateLimit) -> None:
        limits.delete(obj, actor=actor_of(request), as_staff=True)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RateLimit]) -> None:
        for row in queryset:
            self.delete_model(request, row)


class AlertInline(ReadOnly, TabularInline):
    model = BudgetAlert
    per_page = 20
    extra = 0
    hide_title = True
    fields = readonly_fields = ("period", "percent", "spent", "amount", "created_at")
    verbose_name = "alert"


@admin.register(Budget)
class BudgetAdmin(BoundAdmin):
    form = ServiceForm
    list_display = (
        *("tenant", "scope_label", "amount_label", "spent_label", "reserved_label", "kind", "set_by", "status_label"),
    )
    list_display_links = ("tenant", "scope_label")
    list_select_related = ("tenant", "token", "factory")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ("factory", AutocompleteSelectFilter),
        ("period", ChoicesDropdownFilter),
        ("blocks", BooleanRadioFilter),
        ("set_by_staff", BooleanRadioFilter),
        ("status", ChoicesDropdownFilter),
    )
    search_fields = ("tenant__name", "token__name", "factory__name", "=id")
    autocomplete_fields = ("tenant", "token", "factory")
    object_actions = ("switch_on", "switch_off", "count_anew")
    scope_fields = ("tenant", "token", "factory", "period")
    value_fields = ("amount", "blocks", "allow_unpriced")
    inlines = (AlertInline,)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        stands = standing.of_budgets(rows)
        for row in rows:
            row.stood = stands[row.pk]

    @display(description="for", ordering="token__name")
    def scope_label(self, row: Budget) -> str:
        return row.factory.name if row.factory else super().scope_label(row)

    @display(description="amount", ordering="amount")
    def amount_label(self, row: Budget) -> str:
        return str(row)

    @display(description="spent")
    def spent_label(self, row: Any) -> str:
        percent = int(row.stood.spent * 100 / row.amount)
        reached = next((each for each in alerts.THRESHOLDS if percent >= each), 0)
        kind = {100: "danger", 80: "warning", 50: "info"}.get(reached, "")
        return format_html(
            "{} {} USD", badge(f"{percent:,} %", kind, f"{row.stood.spent:,f} USD"), money(row.stood.spent)
        )

    @display(description="set aside (USD)")
    def reserved_label(self, row: Any) -> str:
        return UNKNOWN if row.stood.reserved is None else f"{row.stood.reserved:,.4f}"

    @display(description="kind", label={"blocks": "", "watches": "info"})
    def kind(self, row: Budget) -> str:
        return "blocks" if row.blocks else "watches"

    @display(description="now")
    def stands(self, row: Budget) -> str:
        now = standing.of_budgets([row])[row.pk]
        aside = "an unknown amount" if now.reserved is None else f"{money(now.reserved)} USD"
        return (
            f"{money(now.spent)} USD spent and {aside} set aside for running calls since {now.starts_at:%Y-%m-%d}; "
            f"{money(now.left)} USD left until {now.resets_at:%Y-%m-%d %H:%M} UTC"
        )

    @object_action(
        label="Count anew",
        icon="restart_alt",
        confirm="Every process forgets what it counted and starts from the books. Calls that are running now are seen "
        "when they have ended. Count it anew?",
    )
    def count_anew(self, request: HttpRequest, row: Budget) -> None:
        budgets.recount(row, actor=actor_of(request), as_staff=True)
        self.message_user(request, "It is counted anew, from what the books say.")

    def set_status(self, request: HttpRequest, rows: list[Budget], status: str) -> int:
        for row in rows:
            budgets.update(row, status=status, actor=actor_of(request), as_staff=True)
        return len(rows)

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        values: Any = {name: given[name] for name in self.value_fields}
        if change:
            saved = budgets.update(obj, **values, status=given["status"], actor=actor, as_staff=True)
        else:
            scope = {name: given[name] for name in (*self.scope_fields, "set_by_staff")}
            saved = budgets.create(**scope, **values, actor=actor)
        adopt(obj, saved)

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        budgets.delete(obj, actor=actor_of(request), as_staff=True)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for row in queryset:
            self.delete_model(request, row)
