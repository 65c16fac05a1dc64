"""Forms of the catalogue: what a row may say is checked here as an import checks it."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from core.admin import ServiceForm, widgets
from providers import dialects, signers
from providers.catalog import json_checks
from providers.catalog.checks import Refused
from providers.fields import TYPE_CHOICES
from providers.models import LLM, LLMFactory


def installed(names: tuple[str, ...], current: str) -> list[tuple[str, str]]:
    """A registry's names as choices; a current value that is not installed stays choosable, and says so."""
    choices = [(name, name) for name in names]
    if current and current not in names:
        choices.append((current, f"{current} (not installed)"))
    return choices


def signer_choices(current: str) -> list[tuple[str, str]]:
    """Like `installed`; a signer that takes an argument (header:x-key) may be installed without being listed."""
    unlisted = (current,) if signers.is_installed(current) else ()
    return installed(tuple(dict.fromkeys((*signers.names(), *unlisted))), current)


def _choices(form: forms.BaseForm, name: str, choices: list[tuple[str, str]]) -> None:
    cast(forms.ChoiceField, form.fields[name]).choices = choices


class QuirksForm(ServiceForm):
    """For rows that declare quirks."""

    def clean_quirks(self) -> dict[str, Any]:
        value = self.cleaned_data["quirks"]
        try:
            return json_checks.quirks({} if value is None else value, [])
        except Refused as error:
            raise ValidationError(str(error)) from error


class FactoryForm(QuirksForm):
    dialect = forms.ChoiceField(help_text="The wire format it speaks.", widget=widgets.UnfoldAdminSelectWidget)
    signer = forms.ChoiceField(help_text="How its requests are authenticated.", widget=widgets.UnfoldAdminSelectWidget)

    class Meta:
        model = LLMFactory
        fields = ("name",)  # the admin asks for its own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current = self.instance
        if "dialect" in self.fields:
            _choices(self, "dialect", installed(dialects.names(), current.dialect))
            _choices(self, "signer", signer_choices(current.signer))

    def clean_credential_fields(self) -> list[dict[str, Any]]:
        value = self.cleaned_data["credential_fields"]
        try:
            return json_checks.credential_fields([] if value is None else value, [])
        except Refused as error:
            raise ValidationError(f"credential_fields: {error}") from error

    def clean_allowed_networks(self) -> list[str]:
        value = self.cleaned_data["allowed_networks"] or []
        if not isinstance(value, list):
            raise ValidationError('Expected a list such as ["10.1.0.0/16"].')
        return value


class TypesForm(ServiceForm):
    """For rows with several model types: which one is the primary is a choice of its own."""

    primary_type = forms.ChoiceField(
        required=False,
        choices=[("", "the first one ticked"), *TYPE_CHOICES],
        help_text="What the model is used for when nothing else is said.",
        widget=widgets.UnfoldAdminSelectWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and self.instance.model_types and "primary_type" in self.fields:
            self.fields["primary_type"].initial = self.instance.model_types[0]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kinds, primary = cleaned.get("model_types"), cleaned.get("primary_type")
        if kinds:
            if primary and primary not in kinds:
                self.add_error("primary_type", "Tick this type, too, or choose one that is ticked.")
            order = [primary, *(self.instance.model_types or [])]
            cleaned["model_types"] = sorted(kinds, key=lambda kind: order.index(kind) if kind in order else len(order))
        return cleaned


class LLMForm(TypesForm, QuirksForm):
    class Meta:
        model = LLM
        fields = ("llm_name",)

    def clean_price_detail(self) -> dict[str, Any]:
        value = self.cleaned_data["price_detail"] or {}
        if not isinstance(value, dict):
            raise ValidationError("Expected an object.")
        return value
