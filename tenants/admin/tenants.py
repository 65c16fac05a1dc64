"""Tenants, their members and their default models."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join

from core.admin import (
    ChoicesDropdownFilter,
    ModelAdmin,
    RangeDateTimeFilter,
    ServiceForm,
    TabularInline,
    actor_of,
    adopt,
    display,
    link,
    object_action,
    widgets,
)
from providers.models import INVALID, VALID
from tenants.admin.common import Switched, counts_by
from tenants.models import (
    DEFAULT_MODEL_COLUMNS,
    ApiToken,
    Credential,
    CredentialState,
    Membership,
    Role,
    Route,
    Tenant,
    TenantLLM,
)
from tenants.services import defaults, members, tenants

MODELS_OFFERED = 500
_SAVED = [state for state in CredentialState if state != CredentialState.DRAFT]


class TenantForm(ServiceForm):
    class Meta:
        model = Tenant
        fields = ("name", "email", "status", *DEFAULT_MODEL_COLUMNS.values())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance.pk or "llm_id" not in self.fields:
            return
        offered = self._offered()
        for kind, column in DEFAULT_MODEL_COLUMNS.items():
            names = sorted({name for name, kinds in offered if kind.value in kinds})
            choices = [("", "none"), *((name, name) for name in names)]
            current = getattr(self.instance, column)
            if current and current not in names:
                choices.append((current, f"{current} (not available now)"))
            self.fields[column] = forms.ChoiceField(
                required=False, choices=choices, label=f"For {kind.value}", widget=widgets.UnfoldAdminSelectWidget()
            )

    def _offered(self) -> list[tuple[str, list[str]]]:
        routes = defaults.choosable_routes(self.instance)[:MODELS_OFFERED]
        named: list[tuple[str, list[str]]] = [(route.name, [route.model_type]) for route in routes]
        served = defaults.choosable_served(self.instance).order_by("service__name", "name")[:MODELS_OFFERED]
        named += [(model.full_name, model.model_types or []) for model in served]
        return named + [
            (f"{name}@{factory}", kinds)
            for rows in defaults.choosable(self.instance)
            for name, factory, kinds in rows.order_by("llm_name").values_list(
                "llm_name", "factory__name", "model_types"
            )[:MODELS_OFFERED]
        ]


class NewTenantForm(ServiceForm):
    owner = forms.ModelChoiceField(queryset=User.objects.all(), help_text="Who manages it; may invite others.")

    class Meta:
        model = Tenant
        fields = ("name", "email")


class MembershipInline(TabularInline):
    model = Membership
    per_page = 20
    extra = 0
    hide_title = True
    fields = ("user", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user",)
    verbose_name = "member"
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "tenant")


@admin.register(Tenant)
class TenantAdmin(Switched, ModelAdmin):
    form = TenantForm
    list_display = (
        "name",
        "email",
        "member_count",
        "credential_count",
        "model_count",
        "token_count",
        "status_label",
        "created_at",
    )
    list_filter = (("status", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter))
    list_disable_select_all = True
    search_fields = ("name", "email", "=id")
    ordering = ("name", "id")
    object_actions = ("switch_on", "switch_off")
    inlines = (MembershipInline,)
    readonly_fields = ("id", "owned", "created_at", "updated_at")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewTenantForm
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            inline = MembershipInline(Tenant, self.admin_site)
            form.base_fields["owner"].widget = inline.formfield_for_foreignkey(
                Membership._meta.get_field("user"), request
            ).widget
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("name", "email", "owner")}),)
        return (
            (None, {"fields": ("name", "email", "status", "owned", "id", "created_at", "updated_at")}),
            (
                "Default models",
                {
                    "fields": tuple(DEFAULT_MODEL_COLUMNS.values()),
                    "description": "What is used when a call names no model; enabled routes and models of the type.",
                },
            ),
        )

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        tenant: Any = super().get_object(request, object_id, from_field)
        if tenant is not None:
            tenant.viewer = request.user
        return tenant

    # --- The list ---------------------------------------------------------------------------------------------------

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        keys = [tenant.pk for tenant in rows]
        for tenant in rows:
            tenant.viewer = request.user
        for name, model in (("members", Membership), ("models", TenantLLM)):
            self._spread(rows, name, counts_by(model, "tenant_id", keys))
        self._spread(rows, "credentials", counts_by(Credential, "tenant_id", keys, state__in=_SAVED))
        self._spread(rows, "tokens", counts_by(ApiToken, "tenant_id", keys, revoked_at=None))

    @staticmethod
    def _spread(rows: list[Any], name: str, counts: dict[str, int]) -> None:
        for tenant in rows:
            tenant.__dict__.setdefault("counted", {})[name] = counts.get(tenant.pk, 0)

    @display(description="members")
    def member_count(self, tenant: Any) -> int:
        return int(tenant.counted["members"])

    @display(description="keys")
    def credential_count(self, tenant: Any) -> str:
        return _count_link("credential", tenant, tenant.counted["credentials"])

    @display(description="models")
    def model_count(self, tenant: Any) -> str:
        return _count_link("tenantllm", tenant, tenant.counted["models"])

    @display(description="tokens")
    def token_count(self, tenant: Any) -> str:
        return _count_link("apitoken", tenant, tenant.counted["tokens"])

    @display(description="owns")
    def owned(self, tenant: Any) -> str:
        pages = (
            *(("credential", "keys"), ("tenantllm", "models"), ("route", "routes"), ("apitoken", "tokens")),
            ("probe", "probes"),
        )
        links = [(link(_list_url(name, tenant), text),) for name, text in pages if _may_look(name, tenant)]
        return format_html_join(" · ", "{}", links) or "–"

    # --- What can be done -------------------------------------------------------------------------------------------

    def set_status(self, request: HttpRequest, rows: list[Tenant], status: str) -> int:
        for tenant in rows:
            tenants.update(tenant, status=status, actor=actor_of(request))
        return len(rows)

    @object_action(
        label="Disable",
        icon="toggle_off",
        permission="operate",
        confirm="Nobody of this tenant can call anything until it is enabled again. Disable it?",
        when=lambda tenant: tenant.status == VALID,
    )
    def switch_off(self, request: HttpRequest, tenant: Tenant) -> None:
        self.switch(request, [tenant], INVALID)

    # --- Saving -----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        actor, given = actor_of(request), form.cleaned_data
        if not change:
            adopt(obj, tenants.create(name=given["name"], email=given["email"], owner=given["owner"], actor=actor))
            return
        saved = tenants.update(obj, name=given["name"], email=given["email"], status=given["status"], actor=actor)
        columns = {column: given[column] for column in DEFAULT_MODEL_COLUMNS.values() if column in form.changed_data}
        adopt(obj, defaults.set_default_models(saved, values=columns, actor=actor) if columns else saved)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """New members first and owners before others, so that a tenant never is without an owner on the way."""
        actor = actor_of(request)
        formset.save(commit=False)
        for row in formset.new_objects:
            members.add(tenant=form.instance, user=row.user, role=row.role, actor=actor)
        for row, _fields in sorted(formset.changed_objects, key=lambda changed: changed[0].role != Role.OWNER):
            before = Membership.objects.get(pk=row.pk)
            if before.user_id != row.user_id:
                members.add(tenant=form.instance, user=row.user, role=row.role, actor=actor)
                members.remove(before, actor=actor)
            else:
                members.set_role(before, role=row.role, actor=actor)
        for row in formset.deleted_objects:
            members.remove(row, actor=actor)

    def delete_model(self, request: HttpRequest, obj: Tenant) -> None:
        tenants.delete(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        for tenant in queryset:
            tenants.delete(tenant, actor=actor_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Counts instead of a list of all that goes: a tenant may own thousands of rows."""
        keys = [tenant.pk for tenant in objs]
        owned = {"credentials": Credential, "models": TenantLLM, "routes": Route}
        owned |= {"tokens": ApiToken, "members": Membership}
        counts = {name: sum(counts_by(model, "tenant_id", keys).values()) for name, model in owned.items()}
        allowed = self.has_delete_permission(request)
        return [str(tenant) for tenant in objs], counts, set() if allowed else {"tenant"}, []


def _list_url(name: str, tenant: Tenant) -> str:
    return f"{reverse(f'admin:tenants_{name}_changelist')}?tenant__id__exact={tenant.pk}"


def _count_link(name: str, tenant: Any, count: int) -> str:
    return link(_list_url(name, tenant), count) if count and _may_look(name, tenant) else str(count)


def _may_look(name: str, tenant: Any) -> bool:
    """Whether who looks at the tenant may look at the list, too: no link leads to a refusal."""
    return bool(tenant.viewer.has_perm(f"tenants.view_{name}"))
