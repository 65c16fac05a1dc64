"""Factories, their models inline, and the doors to import and export."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from core.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    TabularInline,
    action,
    actor_of,
    badge,
    display,
    link,
)
from providers import dialects
from providers.admin import imports
from providers.admin.common import CataloguedAdmin
from providers.admin.filters import DialectFilter
from providers.admin.forms import FactoryForm
from providers.admin.llms import price_text
from providers.models import LLM, LLMFactory
from providers.services import curation


class ModelInline(TabularInline):
    """The factory's models, twenty at a time; each opens on a page of its own."""

    model = LLM
    per_page = 20
    extra = 0
    max_num = 0
    can_delete = False
    hide_title = True
    fields = ("name", "types", "max_tokens", "is_tools", "status", "price")
    readonly_fields = ("name", "types", "price")
    ordering = ("llm_name",)
    verbose_name_plural = "models"

    def get_queryset(self, request: HttpRequest) -> QuerySet[LLM]:
        return super().get_queryset(request).select_related("factory")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="model")
    def name(self, llm: LLM) -> str:
        return link(reverse("admin:providers_llm_change", args=[llm.pk]), llm.llm_name)

    @display(description="types")
    def types(self, llm: LLM) -> str:
        return ", ".join(llm.model_types)

    @display(description="price per 1M tokens")
    def price(self, llm: LLM) -> str:
        return price_text(llm)


@admin.register(LLMFactory)
class LLMFactoryAdmin(CataloguedAdmin):
    form = FactoryForm
    list_display = ("title", "types", "dialect_state", "signer", "model_count", "rank", "state", "offered")
    list_display_links = ("title",)
    list_filter = (
        ("status", ChoicesDropdownFilter),
        DialectFilter,
        ("hidden", BooleanRadioFilter),
        ("keyless", BooleanRadioFilter),
        ("self_deployed", BooleanRadioFilter),
    )
    search_fields = ("name", "tags", "base_url")
    ordering = ("-rank", "name")
    actions_list = ("import_catalogue", "export_catalogue")
    inlines = (ModelInline,)
    readonly_fields = ("source", "models_link", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "status", "hidden", "rank", "tags", "logo", "docs_url", "models_link")}),
        (
            "How it is called",
            {"fields": ("base_url", "base_url_required", "dialect", "signer", "quirks", "allowed_networks")},
        ),
        ("What tenants enter", {"fields": ("credential_fields", "keyless", "self_deployed", "name_suffix")}),
        ("Where it comes from", {"fields": ("price_provider", "source", "created_at", "updated_at")}),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["labels"] = {"base_url": "Base URL", "base_url_required": "Base URL required", "docs_url": "Docs URL"}
        kwargs["help_texts"] = {
            "allowed_networks": (
                'Private networks that calls to this factory may reach, such as ["10.1.0.0/16"]. '
                "Everything that is not public is blocked unless it is listed here or in ALLOWED_NETWORKS: "
                "approve only what you run yourself."
            ),
            "credential_fields": (
                'A list of {"name", "label", "secret", "required", "default", "choices", "model_types", '
                '"help", "json"}.'
            ),
            "logo": "An image as a data: URI.",
        }
        return super().get_form(request, obj, change=change, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "logo" and field is not None:
            field.widget.attrs["rows"] = 2
        return field

    # --- The list ---------------------------------------------------------------------------------------------------

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        counts = LLM.objects.order_by().filter(factory__in=rows).values_list("factory").annotate(Count("pk"))
        found = dict(counts)
        for factory in rows:
            factory.model_count = found.get(factory.pk, 0)

    @display(description="factory", ordering="name")
    def title(self, factory: LLMFactory) -> str:
        if factory.logo.startswith("data:image/"):
            return format_html('<span class="lla-factory"><img src="{}" alt="">{}</span>', factory.logo, factory.name)
        return format_html('<span class="lla-factory"><i>{}</i>{}</span>', factory.name[:1].upper(), factory.name)

    @display(description="types")
    def types(self, factory: LLMFactory) -> str:
        return factory.tags.lower().replace(",", ", ")

    @display(description="dialect", ordering="dialect")
    def dialect_state(self, factory: LLMFactory) -> str:
        if dialects.is_installed(factory.dialect):
            return factory.dialect
        missing = badge("not installed", "warning", "No code speaks this wire format yet.")
        return format_html("{} {}", factory.dialect, missing)

    @display(description="models")
    def model_count(self, factory: LLMFactory) -> str:
        return link(_models_url(factory), factory.model_count) if factory.model_count else "0"  # type: ignore[attr-defined]

    @display(description="hidden", ordering="hidden", label={"hidden": "warning"})
    def offered(self, factory: LLMFactory) -> str | None:
        return "hidden" if factory.hidden else None

    @display(description="models")
    def models_link(self, factory: LLMFactory) -> str:
        if not factory.pk:
            return "Save the factory first."
        add = f"{reverse('admin:providers_llm_add')}?factory={factory.pk}"
        return format_html("{} · {}", link(_models_url(factory), "All in a list"), link(add, "Add a model"))

    # --- What can be done -------------------------------------------------------------------------------------------

    def has_import_permission(self, request: HttpRequest) -> bool:
        needed = [f"providers.{verb}_{name}" for verb in ("add", "change") for name in ("llmfactory", "llm")]
        return bool(request.user.has_perms(needed))

    @action(description="Import", url_path="import", icon="upload", permissions=["import"])
    def import_catalogue(self, request: HttpRequest) -> HttpResponse:
        return imports.import_view(self, request)

    @action(description="Export", url_path="export", icon="download", permissions=["view"])
    def export_catalogue(self, request: HttpRequest) -> HttpResponse:
        return imports.export_view(request)

    def save_model(self, request: HttpRequest, obj: LLMFactory, form: Any, change: bool) -> None:
        curation.save_factory(obj, actor=actor_of(request))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        for llm in formset.save(commit=False):
            curation.save_llm(llm, actor=actor_of(request))


def _models_url(factory: LLMFactory) -> str:
    return f"{reverse('admin:providers_llm_changelist')}?factory__id__exact={factory.pk}"
