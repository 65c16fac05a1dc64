"""Forms of services. No key is ever shown: a blank one keeps what is stored."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from core.admin import CodeArea, JSONField, ServiceForm, StrictJSON, widgets
from providers import dialects
from runtimes import drivers
from runtimes.drivers.base import Driver
from runtimes.models import Audience, CallDefaults, LLMService

OPTIONS_HELP = (
    "What the driver takes beside (see the docs), and: "
    '"prices": {"*": {"input": 0, "output": 0}}, USD per million tokens by name of model; '
    '"quirks": how its wire format differs; '
    '"managers_may": ["install", "delete"], what owners and admins of tenants may do to its models.'
)
NETWORKS_HELP = (
    "Networks that are not public and that it may be reached on, one on a line: 127.0.0.0/8 and ::1/128 for this "
    "machine. Whatever is not public and not listed is blocked: approve only what you run yourself."
)


class LinesField(forms.CharField):
    """A list of texts, one on a line."""

    def __init__(self, *, rows: int = 2, **options: Any) -> None:
        area = widgets.UnfoldAdminTextareaWidget({"rows": rows, "spellcheck": "false", "class": "lla-code"})
        super().__init__(**{"required": False, "widget": area, **options})

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class LLMServiceForm(ServiceForm):
    """`driver` is of the type that is chosen, or stored; None if there is none."""

    driver: Driver | None = None
    request: HttpRequest

    type = forms.ChoiceField(help_text="The driver that speaks to it.", widget=widgets.UnfoldAdminSelectWidget)
    api_format = forms.ChoiceField(
        required=False,
        label="API format",
        help_text="The wire format of its calls.",
        widget=widgets.UnfoldAdminSelectWidget,
    )
    urls = LinesField(label="URLs")
    key = forms.CharField(
        required=False,
        strip=False,
        label="API key",
        help_text="Stored encrypted, for the URLs above only: enter it again when they change.",
        widget=widgets.UnfoldAdminPasswordWidget({"autocomplete": "new-password", "spellcheck": "false"}),
    )
    forget_key = forms.BooleanField(
        required=False, label="Remove the stored key", widget=widgets.UnfoldBooleanSwitchWidget
    )
    allowed_networks = LinesField(help_text=NETWORKS_HELP)
    options = JSONField(
        required=False, initial=dict, help_text=OPTIONS_HELP, decoder=StrictJSON, widget=CodeArea({"rows": 8})
    )
    enable = forms.BooleanField(
        required=False,
        initial=True,
        label="Enable it",
        help_text="Watch it, list its models, and let its audience call them.",
        widget=widgets.UnfoldBooleanSwitchWidget,
    )

    class Meta:
        model = LLMService
        fields = ("name", "audience")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.saved = not self.instance._state.adding
        if "name" not in self.fields:  # somebody who only looks
            return
        for name, permission in (("allowed_networks", "approve_networks"), ("enable", "change_llmservice")):
            if not self.request.user.has_perm(f"runtimes.{permission}"):
                del self.fields[name]
        self._choose("type", _types(self.instance.type if self.saved else ""))
        for name in ("short", "long"):
            self.fields[f"{name}_timeout_s"].label = f"{name.capitalize()} timeout (s)"
        own = f"the driver's own ({self.driver.dialect})" if self.driver else "the driver's own"
        self._choose("api_format", [("", own), *((name, name) for name in dialects.names())])
        self.fields["urls"].help_text = _urls_help(self.driver)
        if self.driver and self.driver.api_key_env_var:
            usual = f" Usually {self.driver.api_key_env_var}, which goes to {', '.join(self.driver.default_urls)}"
            self.fields["api_key_env_var"].help_text += f"{usual}, and where SERVICE_KEY_VARIABLES says."
        key = self.fields["key"].widget.attrs
        if not self.saved:
            self.initial.update(_suggested(self.driver))
        elif self.instance.secret is not None:
            kept = f"•••• {self.instance.secret_last4}".strip()
            key["placeholder"] = f"{kept} is stored; leave blank to keep it"

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "options" in cleaned and cleaned["options"] is None:
            cleaned["options"] = {}
        if cleaned.get("key") and cleaned.get("forget_key"):
            self.add_error("forget_key", "Enter a new key, or remove the stored one, not both.")
        return cleaned

    def entered_key(self) -> str | None:
        """None keeps what is stored, “” takes it away."""
        if self.cleaned_data.get("forget_key"):
            return ""
        return self.cleaned_data.get("key") or None

    def chosen_tenants(self) -> list[str] | None:
        """Ids of those who may use it if its audience is some; None: as it is. Whoever knows tenants says more."""
        return None


class ModelForm(forms.Form):
    """Which model is to be installed."""

    model_name = forms.CharField(
        max_length=255,
        label="Model",
        help_text="As the runtime names it.",
        widget=widgets.UnfoldAdminTextInputWidget({"spellcheck": "false", "autocomplete": "off"}),
    )
    options = JSONField(
        required=False,
        initial=dict,
        decoder=StrictJSON,
        widget=CodeArea({"rows": 2}),
        help_text="JSON; what this service's driver takes beside (see the docs).",
    )

    def clean_options(self) -> dict[str, Any]:
        value = self.cleaned_data["options"] or {}
        if not isinstance(value, dict):
            raise ValidationError("Expected an object.")
        return value


class ImportForm(ModelForm):
    """Which one is to be imported, and from where."""

    path = forms.CharField(
        max_length=2048,
        label="From",
        help_text="A file or an address, as the runtime sees it: nothing is uploaded from here.",
        widget=widgets.UnfoldAdminTextInputWidget({"spellcheck": "false", "autocomplete": "off"}),
    )
    field_order = ("model_name", "path", "options")


class DefaultsForm(ServiceForm):
    """What calls get that do not say which model they want, nor how it is to answer."""

    service = forms.ModelChoiceField(
        queryset=LLMService.objects.defer("secret").order_by("name"),
        required=False,
        label="Default service",
        empty_label="none: any service with a loaded model",
        help_text="Calls that name no model get its first loaded one.",
        widget=widgets.UnfoldAdminSelectWidget,
    )
    field_order = ("service", "temperature", "max_tokens")

    class Meta:
        model = CallDefaults
        fields = ("temperature", "max_tokens")
        widgets: ClassVar = {
            "temperature": widgets.UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
            "max_tokens": widgets.UnfoldAdminTextInputWidget({"inputmode": "numeric"}),
        }


def _types(current: str) -> list[tuple[str, str]]:
    choices = [(driver.type, driver.label) for driver in drivers.installed().values()]
    if current and current not in drivers.installed():
        choices.append((current, f"{current} (no driver)"))
    return choices


def _urls_help(driver: Driver | None) -> str:
    text = "One on a line; calls are balanced over several."
    if driver is not None and driver.default_urls:
        text += f" Empty: {', '.join(driver.default_urls)}."
    return text


def _suggested(driver: Driver | None) -> dict[str, Any]:
    found: dict[str, Any] = {"audience": Audience.NONE}
    if driver is None:
        return found
    name = driver.type.replace("_", "-")
    taken = set(LLMService.objects.filter(name__startswith=name).values_list("name", flat=True))
    free = next(one for one in (name, *(f"{name}-{number}" for number in range(2, 1_000))) if one not in taken)
    variable = "" if driver.keyless else driver.api_key_env_var
    return {**found, "type": driver.type, "name": free, "api_key_env_var": variable}
