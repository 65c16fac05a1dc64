"""Every metered call, and what they come to each day. Both can only be looked at."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from core.admin import (
    DropdownFilter,
    ModelAdmin,
    RangeDateFilter,
    RangeDateTimeFilter,
    ReadOnly,
    TextFilter,
    badge,
    display,
    json_text,
    link,
)
from core.ids import ID_LENGTH
from tenants.models import ApiToken, Tenant
from usage.models import UsageDaily, UsageRecord
from usage.models.records import OUTCOME_CHOICES
from usage.records import COUNTS, Outcome
from usage.services import reports

OUTCOME_KINDS = {Outcome.COMPLETE: "success", Outcome.ERROR: "danger"}
_TENANTS_MATCHED = 100


class TenantFilter(TextFilter):
    """By name or id: the books outlive their tenants, so there is nothing to choose from."""

    title = "tenant (name or id)"
    parameter_name = "tenant"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        if is_id(text):
            return queryset.filter(tenant_id=text)
        named = Tenant.objects.order_by().filter(name__icontains=text).values_list("pk", flat=True)[:_TENANTS_MATCHED]
        return queryset.filter(tenant_id__in=list(named))


class TokenFilter(TextFilter):
    title = "token (id)"
    parameter_name = "token"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = (self.value() or "").strip()
        if not text:
            return queryset
        return queryset.filter(token_id=text) if is_id(text) else queryset.none()


class ModelFilter(TextFilter):
    """By its exact name: `gpt-4o`, `gpt-4o@OpenAI` or `ollama~llama3.2:3b`."""

    title = "model (exact name)"
    parameter_name = "model"

    def wanted(self) -> dict[str, str]:
        return reports.columns_of((self.value() or "").strip().replace("\0", ""))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{name: value for name, value in self.wanted().items() if value})


class CalledModelFilter(ModelFilter):
    """The same for calls, of which there are many: the daily sums tell where to look."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reports.narrowed(queryset, UsageDaily.objects.all(), wanted=self.wanted())


class OutcomeFilter(DropdownFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return OUTCOME_CHOICES

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value not in list(Outcome):
            return queryset
        return reports.narrowed(queryset, UsageDaily.objects.all(), wanted={"outcome": value})


class OddFilter(DropdownFilter):
    title = "counts and cost"
    parameter_name = "odd"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unpriced", "unpriced"), ("estimated", "estimated")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("unpriced", "estimated"):
            return queryset
        return reports.narrowed(queryset, UsageDaily.objects.all(), wanted={}, **{self.value(): True})


class Booked(ReadOnly):
    """Mixin: rows that name tenants and tokens by ids, which may be gone."""

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        tenants = dict(
            Tenant.objects.filter(pk__in={row.tenant_id for row in rows}).order_by().values_list("pk", "name")
        )
        wanted = {row.token_id for row in rows if row.token_id}
        tokens = dict(ApiToken.objects.filter(pk__in=wanted).order_by().values_list("pk", "name")) if wanted else {}
        for row in rows:
            row.tenant_label = tenants.get(row.tenant_id, "")
            row.token_label = tokens.get(row.token_id, "")

    @display(description="tenant")
    def tenant_name(self, row: Any) -> str:
        if not hasattr(row, "tenant_label"):
            self.prepare_rows(None, [row])  # type: ignore[arg-type]
        if not row.tenant_label:
            return f"{row.tenant_id[:8]}… (deleted)"
        return link(reverse("admin:tenants_tenant_change", args=[row.tenant_id]), row.tenant_label)

    @display(description="token")
    def token_name(self, row: Any) -> str:
        if not hasattr(row, "token_label"):
            self.prepare_rows(None, [row])  # type: ignore[arg-type]
        if not row.token_id:
            return "Python"
        if not row.token_label:
            return f"{row.token_id[:8]}… (deleted)"
        return link(reverse("admin:tenants_apitoken_change", args=[row.token_id]), row.token_label)

    @display(description="model", ordering="llm_name")
    def model_name(self, row: Any) -> str:
        return row.target or "–"

    @display(description="cost in USD", ordering="cost")
    def price(self, row: Any) -> str:
        return money(row.cost)


@admin.register(UsageRecord)
class UsageRecordAdmin(Booked, ModelAdmin):
    list_display = (
        *("started", "tenant_name", "token_name", "model_name", "operation", "ended", "tokens_in", "tokens_out"),
        *("price", "latency"),
    )
    list_filter = (
        OutcomeFilter,
        TenantFilter,
        TokenFilter,
        CalledModelFilter,
        OddFilter,
        ("started_at", RangeDateTimeFilter),
    )
    search_fields = ("id",)
    search_help_text = "The id of a call, or of its request."
    ordering = ("-started_at",)
    sortable_by = ("started",)  # by anything else, the database would have to sort all calls there are
    fields = (
        *("id", "started", "tenant_name", "token_name", "model_name", "model", "route", "operation", "stream"),
        *("ended", "status", "error_code", "latency_ms", "first_token_ms", "counts", "estimated", "cost"),
        *("attempts_shown", "request_id", "end_user"),
    )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        text = search_term.strip()
        if text:
            by_id = queryset.filter(pk=text) if is_id(text) else queryset.none()
            queryset = by_id if by_id.exists() else reports.of_request(queryset, text.replace("\0", ""))
        return queryset, False

    @display(description="began", ordering="started_at")
    def started(self, record: UsageRecord) -> str:
        return f"{record.started_at:%Y-%m-%d\u00a0%H:%M:%S}"

    @display(description="ended", ordering="outcome")
    def ended(self, record: UsageRecord) -> str:
        text = record.outcome.replace("_", " ")
        return badge(text, OUTCOME_KINDS.get(Outcome(record.outcome), "warning"), record.error_code)

    @display(description="tokens in")
    def tokens_in(self, record: UsageRecord) -> str:
        return count(record.prompt_tokens, estimated=record.estimated)

    @display(description="tokens out")
    def tokens_out(self, record: UsageRecord) -> str:
        return count(record.completion_tokens, estimated=record.estimated)

    @display(description="latency", ordering="latency_ms")
    def latency(self, record: UsageRecord) -> str:
        return f"{record.latency_ms / 1000:,.2f}\u00a0s"

    @display(description="used")
    def counts(self, record: UsageRecord) -> str:
        return json_text({name: value for name in COUNTS if (value := getattr(record, name)) is not None})

    @display(description="attempts")
    def attempts_shown(self, record: UsageRecord) -> str:
        tried = record.attempts or []
        return json_text([f"{model}: {said} after {took} ms" for model, said, took in tried]) if tried else "the first"


@admin.register(UsageDaily)
class UsageDailyAdmin(Booked, ModelAdmin):
    list_display = (
        *("day", "tenant_name", "token_name", "model_name", "operation", "calls", "errors", "unpriced"),
        *("tokens_in", "tokens_out", "price"),
    )
    list_filter = (TenantFilter, TokenFilter, ModelFilter, ("day", RangeDateFilter))
    search_fields = ("llm_name",)
    ordering = ("-day", "-id")
    sortable_by = ("day",)
    fields = (
        *("day", "tenant_name", "token_name", "model_name", "operation", "calls", "errors", "estimated", "unpriced"),
        *(*COUNTS, "cost"),
    )

    @display(description="tokens in")
    def tokens_in(self, row: UsageDaily) -> str:
        return count(row.input_tokens + row.cached_input_tokens + row.cache_write_tokens + row.audio_input_tokens)

    @display(description="tokens out")
    def tokens_out(self, row: UsageDaily) -> str:
        return count(row.output_tokens + row.reasoning_tokens + row.audio_output_tokens)


def is_id(text: str) -> bool:
    return len(text) == ID_LENGTH and set(text) <= set("0123456789abcdef")


def count(number: int | None, *, estimated: bool = False) -> str:
    """A count for people: “≈” before an estimate, “?” for what is unknown."""
    return "?" if number is None else f"{'≈ ' if estimated else ''}{number:,}"


def money(amount: Decimal | None) -> str:
    """USD for people: the smaller, the more places. “?” is not known."""
    if amount is None:
        return "?"
    if amount == 0 or amount >= 1:
        return f"{amount:,.2f}"
    return (
        f"{amount:.4f}"
        if amount >= Decimal("0.01")
        else f"{amount:.6f}"
        if amount >= Decimal("0.0001")
        else f"{amount:f}"
    )
