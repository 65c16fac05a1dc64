"""A form with the fields that a factory declares. It shows no secret: a blank one keeps what is saved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms

from core.admin import ServiceForm, widgets
from providers.models import LLM, LLMFactory
from tenants.models import Credential

PREFIX, INNER = "value_", "__"
Spec = Mapping[str, Any]


class CredentialForm(ServiceForm):
    """Subclassed for each factory by `form_for`."""

    factory: LLMFactory
    base_url = forms.CharField(
        required=False,
        max_length=255,
        label="Base URL",
        widget=widgets.UnfoldAdminTextInputWidget({"inputmode": "url"}),
    )
    test_now = forms.BooleanField(
        required=False,
        initial=True,
        label="Test after saving",
        help_text="Free calls first, then the cheapest billed one.",
        widget=widgets.UnfoldBooleanSwitchWidget,
    )

    class Meta:
        model = Credential
        fields = ("label", "base_url")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.saved = bool(self.instance.pk) and not self.instance._state.adding
        self.fields["label"].required = False
        self.fields["base_url"].help_text = _url_help(self.factory)
        if not self.saved:
            self.initial["label"] = ""
            self.fields["label"].help_text = "To tell several keys for one factory apart; empty: chosen for you."
        for name, spec, parent in _inputs(self.factory):
            sealed = bool((parent or spec).get("secret"))
            if self.saved and sealed:
                self.fields[name].widget.attrs["placeholder"] = self._placeholder()
            elif self.saved:
                self.initial[name] = _shown(self.instance.fields.get(spec["name"], ""))
            elif spec.get("default"):
                self.initial[name] = _shown(spec["default"])

    def _placeholder(self) -> str:
        if self.instance.secret is None:
            return "none is saved"
        return " ".join(f"•••• {self.instance.secret_last4} is saved; leave blank to keep it".split())

    def clean(self) -> dict[str, Any]:
        """A field that is an object is entered part by part; entering one part replaces the whole."""
        cleaned = super().clean() or self.cleaned_data
        given = self.values()
        for name, spec, parent in _inputs(self.factory):
            entered = parent is not None and (parent["name"] in given or (parent.get("required") and not self.saved))
            if entered and spec.get("required") and not cleaned.get(name):
                self.add_error(name, "This field is required.")
        return cleaned

    def values(self) -> dict[str, Any]:
        """What was entered, by the factory's own names; blank ones are left out, unless they clear what is saved."""
        found: dict[str, Any] = {}
        for name, spec, parent in _inputs(self.factory):
            value = self.cleaned_data.get(name)
            clears = self.saved and not spec.get("secret") and bool(self.instance.fields.get(spec["name"]))
            if parent is None and (value or clears):
                found[spec["name"]] = value or ""
            elif value and parent is not None:
                whole = found.setdefault(parent["name"], {part["name"]: "" for part in parent["fields"]})
                whole[spec["name"]] = value
        return found


def form_for(factory: LLMFactory, *, adding: bool) -> type[CredentialForm]:
    """The form that asks for this factory's own fields."""
    fields: dict[str, Any] = {name: _field(spec, parent) for name, spec, parent in _inputs(factory)}
    models = LLM.objects.valid().filter(factory=factory).count() if adding else 0
    if models:
        fields["grant_models"] = forms.BooleanField(
            required=False,
            initial=True,
            label=f"Enable its {models} models",
            help_text="All enabled models that the catalogue lists for this factory. Others can be added later.",
            widget=widgets.UnfoldBooleanSwitchWidget(),
        )
    aliases: dict[str, str] = {}
    for name, spec, parent in _inputs(factory):
        aliases.setdefault((parent or spec)["name"], name)
    return type("FactoryCredentialForm", (CredentialForm,), {**fields, "factory": factory, "aliases": aliases})


def value_names(factory: LLMFactory) -> list[str]:
    """The form's names of the factory's fields."""
    return [name for name, _spec, _parent in _inputs(factory)]


def _inputs(factory: LLMFactory) -> Iterator[tuple[str, Spec, Spec | None]]:
    """Each input: its name in the form, what declares it, and the object that it is a part of."""
    for spec in factory.credential_fields:
        if not spec.get("fields"):
            yield PREFIX + spec["name"], spec, None
        for part in spec.get("fields", ()):
            yield f"{PREFIX}{spec['name']}{INNER}{part['name']}", part, spec


def _field(spec: Spec, parent: Spec | None) -> forms.Field:
    kinds = spec.get("model_types") or (parent or {}).get("model_types")
    notes = [spec.get("help", "")]
    if kinds:
        notes.append(f"Only for {', '.join(kinds)}.")
    elif spec.get("required"):
        notes.append("Required.")
    common: dict[str, Any] = {
        "required": False,
        "label": spec.get("label") or spec["name"],
        "help_text": " ".join(filter(None, notes)),
    }
    if spec.get("secret"):
        attrs = {"autocomplete": "new-password", "spellcheck": "false"}
        return forms.CharField(**common, strip=False, widget=widgets.UnfoldAdminPasswordWidget(attrs))
    if spec.get("choices"):
        choices = [("", "–"), *((choice, choice) for choice in spec["choices"])]
        return forms.ChoiceField(**common, choices=choices, widget=widgets.UnfoldAdminSelectWidget())
    if spec.get("json"):
        return forms.CharField(**common, widget=widgets.UnfoldAdminTextareaWidget({"rows": 4, "class": "lla-code"}))
    return forms.CharField(**common, widget=widgets.UnfoldAdminTextInputWidget())


def _url_help(factory: LLMFactory) -> str:
    if factory.base_url:
        return f"Empty: {factory.quirks.get('base_url') or factory.base_url}"
    return "Where it runs. Required." if factory.base_url_required else "Where it runs."


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
