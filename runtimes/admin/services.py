"""Services: how they are, what they have, how they are reached, and who may use them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html_join
from django.views.decorators.debug import sensitive_variables

from core.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    action,
    actor_of,
    adopt,
    badge,
    display,
    json_text,
    object_action,
    refusal_text,
)
from core.errors import AppError
from core.secrets import SecretError
from runtimes import drivers
from runtimes.admin import pages, yaml_pages
from runtimes.admin.common import (
    OPERATIONS,
    Operated,
    driver_label,
    operate,
    service_url,
    start,
)
from runtimes.admin.filters import DriverFilter, FoundFilter
from runtimes.admin.forms import LLMServiceForm
from runtimes.admin.service_list import ServiceList
from runtimes.models import LLMService, ServiceModel, ServiceTenant
from runtimes.services import services

COLUMNS = ("name", "type", "description", "api_format", "urls", "api_key_env_var", "short_timeout_s", "long_timeout_s",
           "verify_cert", "enable_discovery", "options")  # fmt: skip


@admin.register(LLMService)
class LLMServiceAdmin(ServiceList, pages.ServicePages, Operated, ModelAdmin):
    """Who knows tenants derives from this, and lets people choose some of them."""

    form = LLMServiceForm
    list_filter = (
        ("health", ChoicesDropdownFilter),
        DriverFilter,
        ("is_enabled", BooleanRadioFilter),
        FoundFilter,
        ("audience", ChoicesDropdownFilter),
    )
    list_disable_select_all = True
    search_fields = ("name", "type", "description", "=id")
    search_help_text = "Name, type or description"
    ordering = ("name",)
    actions = ("test_selected", "refresh_selected", "enable", "disable")
    actions_list = ("import_services", "export_services", "matrix", "call_defaults")
    object_actions = ("test_now", "refresh_models", "switch_on", "switch_off", "make_default")
    change_form_outer_before_template = "admin/runtimes/service_before.html"
    change_form_outer_after_template = "admin/runtimes/service_after.html"

    @staticmethod
    def autocomplete_label(service: LLMService) -> str:
        return f"{service.name} ({driver_label(service)})"

    # --- What can be done -------------------------------------------------------------------------------------------

    @object_action(label="Test now", icon="network_check", permission="operate", variant="primary")
    def test_now(self, request: HttpRequest, service: LLMService) -> None:
        start(request, service, "service_check")
        self.message_user(request, "It is looked at now: this page shows what is found.")

    @object_action(label="Refresh models", icon="sync", permission="operate")
    def refresh_models(self, request: HttpRequest, service: LLMService) -> HttpResponse:
        return operate(request, service, "refresh")

    @object_action(label="Enable", icon="toggle_on", when=lambda service: not service.is_enabled)
    def switch_on(self, request: HttpRequest, service: LLMService) -> None:
        services.enable(service_id=service.pk, actor=actor_of(request))
        self.message_user(request, f"{service.name} is enabled, and looked at within seconds.")

    @object_action(label="Disable", icon="toggle_off", when=lambda service: service.is_enabled)
    def switch_off(self, request: HttpRequest, service: LLMService) -> None:
        services.disable(service_id=service.pk, actor=actor_of(request))
        self.message_user(request, f"{service.name} is disabled: nobody can call it.")

    @object_action(label="Make it the default", icon="star", when=lambda service: not service.is_default)
    def make_default(self, request: HttpRequest, service: LLMService) -> None:
        services.set_default(service_id=service.pk, actor=actor_of(request))
        self.message_user(request, f"Calls that name no model go to {service.name}.")

    @admin.action(description="Test now", permissions=["operate"])
    def test_selected(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> None:
        self._each(request, queryset, lambda service: start(request, service, "service_check"), "looked at now")

    @admin.action(description="Refresh models", permissions=["operate"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> None:
        self._each(request, queryset, lambda service: start(request, service, f"{OPERATIONS}refresh"), "listed anew")

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> None:
        actor = actor_of(request)
        self._each(request, queryset, lambda service: services.enable(service_id=service.pk, actor=actor), "enabled")

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> None:
        actor = actor_of(request)
        self._each(request, queryset, lambda service: services.disable(service_id=service.pk, actor=actor), "disabled")

    def _each(self, request: HttpRequest, queryset: QuerySet[LLMService], do: Any, done: str) -> None:
        """One that is refused keeps no other from being done."""
        count = 0
        for service in queryset:
            try:
                do(service)
            except AppError as error:
                self.message_user(request, f"{service.name}: {refusal_text(error)}", messages.ERROR)
            else:
                count += 1
        if count:
            self.message_user(request, f"{count} {done}.")

    @action(description="Import", url_path="import", icon="upload", permissions=["import"])
    def import_services(self, request: HttpRequest) -> HttpResponse:
        return yaml_pages.import_view(request, self)

    @action(description="Export", url_path="export", icon="download", permissions=["view"])
    def export_services(self, request: HttpRequest) -> HttpResponse:
        return yaml_pages.export_view()

    @action(description="Capabilities", url_path="capabilities", icon="table_chart", permissions=["view"])
    def matrix(self, request: HttpRequest) -> HttpResponse:
        return pages.matrix_view(self, request)

    @action(description="Defaults", url_path="defaults", icon="tune", permissions=["defaults"])
    def call_defaults(self, request: HttpRequest) -> HttpResponse:
        return pages.defaults_view(self, request)

    def has_import_permission(self, request: HttpRequest) -> bool:
        needed = ("add_llmservice", "change_llmservice", "approve_networks")  # a file may say all of it
        return request.user.has_perms([f"runtimes.{name}" for name in needed])

    def has_defaults_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    # --- The form: a driver is chosen first, which then says what is usual -------------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        unknown = request.GET.get("type") not in drivers.installed()
        if request.method != "POST" and unknown and self.has_add_permission(request):
            return pages.choose_view(self, request)
        return super().add_view(request, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        chosen = obj.type if obj else request.POST.get("type") or request.GET.get("type")
        return type(form.__name__, (form,), {"driver": drivers.installed().get(chosen or "")})

    def _may_edit(self, request: HttpRequest, obj: LLMService | None) -> bool:
        return self.has_change_permission(request, obj) if obj else self.has_add_permission(request)

    audience_fields: tuple[str, ...] = ("audience",)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        timing = (("short_timeout_s", "long_timeout_s"), "verify_cert", "enable_discovery")
        times = ("Times", {"fields": ("created_at", "updated_at", "listed_at", "next_check_at")})
        if not self._may_edit(request, obj):
            shown = ("name", "type_shown", "description", "api_format", "urls_shown", "key_shown", "api_key_env_var")
            more = (*timing, "networks_shown", "audience", "tenants_shown", "options_shown")
            return ((None, {"fields": (*shown, *more)}), times)
        stored = ("key_shown", "key", "forget_key") if obj and obj.secret is not None else ("key",)
        may_approve = request.user.has_perm("runtimes.approve_networks")
        networks = "allowed_networks" if may_approve else "networks_shown"
        reached = ("urls", *stored, "api_key_env_var", networks)
        sets = (
            (None, {"fields": ("name", "type", "description")}),
            ("How it is reached", {"fields": (*reached, *timing)}),
            ("Who may use it", {"fields": self.audience_fields}),
            ("How it is called", {"fields": ("api_format", "options")}),
        )
        if obj:
            return (*sets, times)
        return (*sets, ("Then", {"fields": ("enable",)})) if self.has_change_permission(request) else sets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("type_shown", "urls_shown", "networks_shown", "key_shown", "tenants_shown", "options_shown")
        return (*shown, "created_at", "updated_at", "listed_at", "next_check_at")

    @display(description="type")
    def type_shown(self, service: LLMService) -> str:
        return driver_label(service)

    @display(description="URLs")
    def urls_shown(self, service: LLMService) -> str:
        driver = drivers.installed().get(service.type)
        usual = ", ".join(driver.default_urls) if driver is not None else ""
        return ", ".join(service.urls) or f"{usual} (as usual)"

    @display(description="allowed networks")
    def networks_shown(self, service: LLMService) -> str:
        return ", ".join(service.allowed_networks) or "public addresses only"

    @display(description="stored key")
    def key_shown(self, service: LLMService) -> str:
        if service.secret is None:
            return "none"
        try:
            service.open_secret()
        except SecretError as error:
            return badge("unreadable", "danger", str(error))
        return f"•••• {service.secret_last4}".strip()

    @display(description="tenants")
    def tenants_shown(self, service: LLMService) -> str:
        """Their ids; names are known above."""
        return format_html_join(", ", "{}", service.tenants.values_list("tenant_id")) or "–"

    @display(description="options")
    def options_shown(self, service: LLMService) -> str:
        return json_text(service.options)

    # --- Saving -----------------------------------------------------------------------------------------------------

    @sensitive_variables()
    def save_model(self, request: HttpRequest, obj: LLMService, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        values = {name: given[name] for name in COLUMNS}
        key, networks = form.entered_key(), given.get("allowed_networks")
        if change:
            saved = services.update(service_id=obj.pk, actor=actor, key=key, allowed_networks=networks, **values)
        else:
            saved = services.create(actor=actor, key=key or "", **values)
            if networks:
                saved = services.approve_networks(service_id=saved.pk, networks=networks, actor=actor)
        saved = services.set_audience(
            service_id=saved.pk, audience=given["audience"], tenant_ids=form.chosen_tenants(), actor=actor
        )
        if given.get("enable") and not change:
            saved = services.enable(service_id=saved.pk, actor=actor)
        adopt(obj, saved)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There is nothing beside the service."""

    def response_add(self, request: HttpRequest, obj: LLMService, post_url_continue: Any = None) -> HttpResponse:
        messages.success(request, f"{obj} is saved.")
        return HttpResponseRedirect(service_url(obj))

    def delete_model(self, request: HttpRequest, obj: LLMService) -> None:
        services.delete(service_id=obj.pk, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[LLMService]) -> None:
        for service in queryset:
            services.delete(service_id=service.pk, actor=actor_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        counts = {
            "models that are known": ServiceModel.objects.filter(service__in=objs).count(),
            "tenants that may use it": ServiceTenant.objects.filter(service__in=objs).count(),
        }
        return list(map(str, objs)), counts, set() if self.has_delete_permission(request) else {"service"}, []
