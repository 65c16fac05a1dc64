"""API tokens: the text is part of one answer, and kept nowhere."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.admin import (
    AutocompleteSelectFilter,
    ModelAdmin,
    RadioFilter,
    ServiceForm,
    actor_of,
    adopt,
    display,
    object_action,
    widgets,
)
from core.clock import now
from tenants.models import SCOPES, ApiToken
from tenants.services import tokens


class TokenForm(ServiceForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, f"{scope}: {meaning}") for scope, meaning in SCOPES.items()],
        initial=["read", "invoke"],
        widget=widgets.UnfoldAdminCheckboxSelectMultipleWidget,
    )
    models = forms.CharField(
        required=False,
        widget=widgets.UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false"}),
        help_text="What it may call, one on a line: fast, gpt-4o@OpenAI, *@OpenAI. A name without “@” means the route "
        "of that name and the models of that name at any factory. Empty: everything.",
    )

    class Meta:
        model = ApiToken
        fields = ("tenant", "name", "scopes", "expires_at")


class StateFilter(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "active"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        match self.value():
            case "active":
                return queryset & ApiToken.objects.usable(at=now())
            case "expired":
                return queryset.filter(expires_at__lte=now(), revoked_at=None)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    form = TokenForm
    list_display = ("name", "tenant", "start", "scope_list", "state", "created_by", "expires_at", "last_used_at")
    list_select_related = ("tenant", "created_by")
    list_filter = (StateFilter, ("tenant", AutocompleteSelectFilter))
    list_disable_select_all = True
    search_fields = ("name", "prefix", "tenant__name")
    ordering = ("-id",)
    actions = ("revoke_selected",)
    object_actions = ("revoke",)
    autocomplete_fields = ("tenant",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ("tenant", "name", "scopes", "models", "expires_at")
        times = ("expires_at", "last_used_at", "revoked_at", "created_at")
        return ("name", "tenant", "start", "scope_list", "model_list", "state", "created_by", *times)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a token is made and revoked, never edited

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # revoked ones stay listed: the audit log names them

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_revoke_permission(request, obj)

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("tenants.change_apitoken"))

    @display(description="begins with")
    def start(self, token: ApiToken) -> str:
        return f"{token.prefix}…"

    @display(description="scopes")
    def scope_list(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @display(description="may call")
    def model_list(self, token: ApiToken) -> str:
        return ", ".join(token.allowed_models) or "everything"

    @display(description="state", label={"active": "success", "expired": "warning", "revoked": "danger"})
    def state(self, token: ApiToken) -> str:
        if token.revoked_at:
            return "revoked"
        return "expired" if token.expires_at and token.expires_at <= now() else "active"

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        given = form.cleaned_data
        token, plain = tokens.create(
            tenant=given["tenant"],
            name=given["name"],
            scopes=given["scopes"],
            models=[line for line in given["models"].splitlines() if line.strip()],
            expires_at=given["expires_at"],
            actor=actor_of(request),
        )
        adopt(obj, token)
        request.plain_token = plain  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: Any = None) -> HttpResponse:
        """The token is shown in this very answer: a redirect would have to keep it somewhere."""
        context = {**self.admin_site.each_context(request), "title": "New token", "opts": self.opts}
        context |= {"token": obj, "plain": request.plain_token}  # type: ignore[attr-defined]
        response = render(request, "llmadmin/token_created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            tokens.revoke(token, actor=actor_of(request))
        self.message_user(request, f"{len(queryset)} revoked.")

    @object_action(
        label="Revoke",
        icon="block",
        permission="revoke",
        variant="danger",
        confirm="Whatever uses this token stops working, for good. Revoke it?",
        when=lambda token: token.revoked_at is None,
    )
    def revoke(self, request: HttpRequest, token: ApiToken) -> None:
        tokens.revoke(token, actor=actor_of(request))
        self.message_user(request, "Revoked.")
