"""Where tenants' traces go. The keys are tried when they are saved, and never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from core.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    ModelAdmin,
    ServiceForm,
    actor_of,
    adopt,
    display,
    widgets,
)
from core.secrets import SecretError
from tenants.models import LangfuseProject
from tenants.services import langfuse

_BLANK = "Blank: the saved keys stay as they are."


def _key_field(label: str) -> forms.CharField:
    attrs = {"autocomplete": "new-password", "spellcheck": "false"}
    return forms.CharField(required=False, label=label, strip=True, widget=widgets.UnfoldAdminPasswordWidget(attrs))


class LangfuseForm(ServiceForm):
    public_key = _key_field("Public key")
    secret_key = _key_field("Secret key")

    class Meta:
        model = LangfuseProject
        fields = ("tenant", "host", "content")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.saved = not self.instance._state.adding
        self.fields["secret_key"].help_text = _BLANK if self.saved else "Both are tried at this host before saving."
        if "host" in self.fields:
            self.fields["host"].help_text = "The address that you open Langfuse with: https://cloud.langfuse.com"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        given = [bool(cleaned.get(name)) for name in ("public_key", "secret_key")]
        if any(given) != all(given):
            self.add_error("secret_key" if given[0] else "public_key", "Enter both keys, they belong together.")
        elif not any(given) and (not self.saved or "host" in self.changed_data):
            self.add_error("public_key", "Enter both keys: they are tried at this host, and sealed for it.")
        return cleaned


@admin.register(LangfuseProject)
class LangfuseProjectAdmin(ModelAdmin):
    form = LangfuseForm
    list_display = ("project", "tenant", "host", "content", "updated_at")
    list_select_related = ("tenant",)
    list_filter = (("content", BooleanRadioFilter), ("tenant", AutocompleteSelectFilter))
    list_disable_select_all = True
    actions = None
    search_fields = ("project_name", "host", "tenant__name")
    ordering = ("-updated_at",)
    autocomplete_fields = ("tenant",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        asked = ("tenant", "host", "public_key", "secret_key", "content")
        return asked if obj is None else (*asked, "project_name", "project_id", "readable", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("project_name", "project_id", "readable", "created_at", "updated_at")
        return () if obj is None else ("tenant", *shown)

    @display(description="project", ordering="project_name")
    def project(self, row: LangfuseProject) -> str:
        return str(row)

    @display(description="keys", label={"saved": "success", "unreadable": "danger"})
    def readable(self, row: LangfuseProject) -> str:
        try:
            row.open_secret()
        except SecretError:
            return "unreadable"
        return "saved"

    def save_model(self, request: HttpRequest, obj: LangfuseProject, form: Any, change: bool) -> None:
        given, actor = form.cleaned_data, actor_of(request)
        if given["public_key"]:
            tenant = obj.tenant if change else given["tenant"]
            keys = {name: given[name] for name in ("host", "public_key", "secret_key", "content")}
            adopt(obj, langfuse.save(tenant=tenant, **keys, actor=actor))
        else:
            row = LangfuseProject.objects.get(pk=obj.pk)
            adopt(obj, langfuse.set_content(row, content=given["content"], actor=actor))

    def delete_model(self, request: HttpRequest, obj: LangfuseProject) -> None:
        langfuse.delete(obj, actor=actor_of(request))
