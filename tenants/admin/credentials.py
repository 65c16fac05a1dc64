"""Tenants' keys: entered once, tested, never shown again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from core.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    ModelAdmin,
    actor_of,
    adopt,
    display,
    link,
    object_action,
)
from providers.models import LLM, VALID, LLMFactory
from tenants.admin import panels
from tenants.admin.common import Switched, counts_by, key_text, state_badge, verdict_badge
from tenants.admin.credential_form import form_for, value_names
from tenants.admin.discovery import Discovering, models_url
from tenants.models import Credential, Probe, Tenant, TenantLLM
from tenants.services import credentials, drafts, plans, probing, routes


@admin.register(Credential)
class CredentialAdmin(Discovering, Switched, ModelAdmin):
    list_display = ("title", "tenant", "key", "health", "last_verdict", "model_count", "checked_at", "status_label")
    list_select_related = ("tenant", "factory")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("verdict", ChoicesDropdownFilter),
        ("factory", AutocompleteSelectFilter),
        ("tenant", AutocompleteSelectFilter),
        ("status", ChoicesDropdownFilter),
    )
    list_disable_select_all = True
    search_fields = ("label", "tenant__name", "factory__name", "base_url", "=secret_last4", "=id")
    search_help_text = "Label, tenant, factory, base URL, or the key's last four characters"
    autocomplete_fields = ("tenant", "factory")
    ordering = ("-id",)
    actions = ("test_selected", "enable", "disable")
    object_actions = ("test_now", "test_all", "list_models", "switch_on", "switch_off")
    pollable = True
    change_form_outer_before_template = "llmadmin/credential_test.html"
    change_form_outer_after_template = "llmadmin/credential_probes.html"
    readonly_fields = (
        *("tenant", "factory", "key", "plain", "health", "last_verdict", "models", "status_label", "failures"),
        *("checked_at", "next_check_at", "created_by", "created_at", "updated_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Credential]:
        return super().get_queryset(request).saved().select_related("tenant", "factory")

    @staticmethod
    def autocomplete_label(credential: Credential) -> str:
        return f"{credential.tenant.name}: {credential}"

    # --- The form: a factory is chosen first, then its own fields are asked for ---------------------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            return super().add_view(request, form_url, extra_context)
        choose = self._choose_form(request)
        form = choose(request.GET if request.GET.get("factory") and request.GET.get("tenant") else None)
        if not (form.is_bound and form.is_valid()):
            form.initial = {name: request.GET.get(name) for name in ("tenant", "factory")}
            context = {**self.admin_site.each_context(request), "title": "Add credential", "opts": self.opts}
            return render(request, "llmadmin/credential_choose.html", {**context, "form": form, "media": form.media})
        request.chosen = (form.cleaned_data["tenant"], form.cleaned_data["factory"])  # type: ignore[attr-defined]
        return super().add_view(request, form_url, extra_context)

    def _choose_form(self, request: HttpRequest) -> type[forms.Form]:
        fields = {
            name: self.formfield_for_foreignkey(Credential._meta.get_field(name), request)
            for name in ("tenant", "factory")
        }
        return type("ChooseForm", (forms.Form,), fields)

    def _factory(self, request: HttpRequest, obj: Credential | None) -> LLMFactory:
        return obj.factory if obj else request.chosen[1]  # type: ignore[attr-defined]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if self._may_edit(request, obj):
            kwargs["form"] = form_for(self._factory(request, obj), adding=obj is None)
        return super().get_form(request, obj, change=change, **kwargs)

    def _may_edit(self, request: HttpRequest, obj: Credential | None) -> bool:
        return self.has_change_permission(request, obj) if obj else self.has_add_permission(request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        factory = self._factory(request, obj)
        asks: dict[str, Any] = {"fields": ("base_url", *value_names(factory))}
        asked = f"What {factory.name} asks for"
        if factory.docs_url:
            asks["description"] = format_html(
                'Get a key at <a class="lla-link" href="{0}" rel="noopener noreferrer" target="_blank">{0}</a>',
                factory.docs_url,
            )
        if obj is None:
            grants = ("grant_models",) if LLM.objects.valid().filter(factory=factory).exists() else ()
            return ((None, {"fields": ("tenant_shown", "factory_shown", "label")}), (asked, asks), (
                "Then", {"fields": (*grants, "test_now")},
            ))  # fmt: skip
        times = {"fields": ("checked_at", "failures", "next_check_at", "created_by", "created_at", "updated_at")}
        if not self._may_edit(request, obj):
            shown = ("tenant", "factory", "label", "base_url", "key", "plain", "status_label", "models")
            return ((None, {"fields": shown}), ("Times", times))
        return (
            (None, {"fields": ("tenant", "factory", "key", "status_label", "models", "label")}),
            (asked, {**asks, "fields": (*asks["fields"], "test_now")}),
            ("Times", times),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj else ("tenant_shown", "factory_shown")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if chosen := getattr(request, "chosen", None):
            instance = context["adminform"].form.instance
            instance.tenant, instance.factory = chosen
        elif obj := kwargs.get("obj"):
            context |= panels.page_context(obj, request.GET.get("job", ""))
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="tenant")
    def tenant_shown(self, credential: Credential) -> str:
        return str(credential.tenant)

    @display(description="factory")
    def factory_shown(self, credential: Credential) -> str:
        back = f"{reverse('admin:tenants_credential_add')}?tenant={credential.tenant_id}"
        return format_html("{} · {}", credential.factory, link(back, "choose another"))

    # --- What is shown of it ----------------------------------------------------------------------------------------

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        counts = counts_by(TenantLLM, "credential_id", [row.pk for row in rows])
        for row in rows:
            row.counted = counts.get(row.pk, 0)

    @display(description="credential")
    def title(self, credential: Credential) -> str:
        return str(credential)

    @display(description="key")
    def key(self, credential: Credential) -> str:
        return key_text(credential)

    @display(description="other fields")
    def plain(self, credential: Credential) -> str:
        return format_html_join(", ", "{}: {}", credential.fields.items()) or "none"

    @display(description="state", ordering="state")
    def health(self, credential: Credential) -> str:
        return state_badge(credential)

    @display(description="verdict", ordering="verdict")
    def last_verdict(self, credential: Credential) -> str:
        return verdict_badge(credential.verdict, credential.reason)

    @display(description="models")
    def model_count(self, credential: Any) -> str:
        return link(_models_url(credential), credential.counted) if credential.counted else "0"

    @display(description="models")
    def models(self, credential: Credential) -> str:
        count = TenantLLM.objects.filter(credential=credential).count()
        add = f"{reverse('admin:tenants_tenantllm_add')}?credential={credential.pk}"
        listed = link(models_url(credential), "What the upstream lists")
        used = link(_models_url(credential), f"{count} models")
        return format_html("{} · {} · {}", used, link(add, "Add one"), listed)

    # --- Testing: a job does it, the page only watches ----------------------------------------------------------------

    def live_items(self, request: HttpRequest, keys: list[str]) -> dict[str, dict[str, Any]]:
        return panels.live_items(keys, self.get_queryset(request))

    def _watch(self, credential: Credential, job_id: str) -> HttpResponseRedirect:
        here = reverse("admin:tenants_credential_change", args=[credential.pk])
        return HttpResponseRedirect(f"{here}?job={job_id}")

    @object_action(label="Test now", icon="network_check", permission="operate", variant="primary")
    def test_now(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        return self._watch(credential, credentials.test(credential, actor=actor_of(request)).pk)

    @object_action(
        label="Test every model",
        icon="checklist",
        permission="operate",
        confirm="This makes one call for each of its models and types, and the vendor may bill them. Go on?",
        when=lambda credential: TenantLLM.objects.filter(credential=credential, status=VALID).exists(),
    )
    def test_all(self, request: HttpRequest, credential: Credential) -> HttpResponse:
        job = credentials.test(credential, actor=actor_of(request), pairs=probing.pairs_of(credential))
        return self._watch(credential, job.pk)

    @admin.action(description="Test now", permissions=["operate"])
    def test_selected(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        for credential in queryset:
            credentials.test(credential, actor=actor_of(request))
        self.message_user(request, f"{len(queryset)} tests are under way: this list shows their verdicts as they come.")

    def set_status(self, request: HttpRequest, rows: list[Credential], status: str) -> int:
        for credential in rows:
            credentials.update(credential, status=status, actor=actor_of(request))
        return len(rows)

    # --- Saving -----------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        if change:
            saved = credentials.update(
                obj, label=given["label"], base_url=given["base_url"], values=form.values(), actor=actor
            )
            renewed = saved.checked_at is None
        else:
            tenant, factory = request.chosen  # type: ignore[attr-defined]
            saved, renewed = self._create(tenant, factory, form, actor), True
        adopt(obj, saved)
        if given.get("test_now") and renewed and self.has_operate_permission(request, saved):
            request.test_job = credentials.test(saved, actor=actor)  # type: ignore[attr-defined]

    @staticmethod
    def _create(tenant: Tenant, factory: LLMFactory, form: Any, actor: Any) -> Credential:
        given = form.cleaned_data
        return drafts.save_untested(
            tenant=tenant, factory=factory, values=form.values(), base_url=given["base_url"], label=given["label"],
            models=plans.whole_catalogue(factory) if given.get("grant_models") else [], actor=actor,
        )  # fmt: skip

    def response_add(self, request: HttpRequest, obj: Credential, post_url_continue: Any = None) -> HttpResponse:
        return self._after(request, obj) or HttpResponseRedirect(
            reverse("admin:tenants_credential_change", args=[obj.pk])
        )

    def response_change(self, request: HttpRequest, obj: Credential) -> HttpResponse:
        return self._after(request, obj) or super().response_change(request, obj)

    def _after(self, request: HttpRequest, obj: Credential) -> HttpResponse | None:
        if job := getattr(request, "test_job", None):
            messages.success(request, f"{obj} is saved, and its test is under way.")
            return self._watch(obj, job.pk)
        return None

    def delete_model(self, request: HttpRequest, obj: Credential) -> None:
        credentials.delete(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        for credential in queryset:
            credentials.delete(credential, actor=actor_of(request))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        keys = [credential.pk for credential in objs]
        counts = {"models": sum(counts_by(TenantLLM, "credential_id", keys).values())}
        counts["probes that stay"] = sum(counts_by(Probe, "credential_id", keys).values())
        losses = routes.losses(TenantLLM.objects.filter(credential__in=keys))
        allowed = self.has_delete_permission(request)
        return [*map(str, objs), *map(str, losses)], counts, set() if allowed else {"credential"}, []


def _models_url(credential: Credential) -> str:
    return f"{reverse('admin:tenants_tenantllm_changelist')}?credential__id__exact={credential.pk}"
