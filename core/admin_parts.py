"""The parts of the admin that know nothing of its theme. `core.admin` passes them on: import them from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlencode

from django import forms
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from core.audit import Actor
from core.errors import AppError
from core.http import client_address

COUNT_CAP = 10_000


def actor_of(request: HttpRequest) -> Actor:
    """The logged-in person, as services want to know them."""
    user = request.user
    return Actor(user_id=user.pk, label=user.get_username(), address=client_address(request))


def badge(text: Any, kind: str = "", title: str = "") -> str:
    """A coloured label: kind is success, danger, warning, info or nothing."""
    label = render_to_string("unfold/helpers/label.html", {"text": text, "type": kind, "label_title": title})
    return mark_safe(label.strip())  # noqa: S308  (the template has escaped it)


def refusal_text(error: AppError) -> str:
    """A service's refusal on one line."""
    details = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.fields.items())
    return " ".join(part for part in (error.message, details, error.hint) if part)


def adopt(obj: models.Model, saved: models.Model) -> None:
    """Let the form's instance be what the service saved: Django goes on to log, name and link it."""
    obj.__dict__.update(saved.__dict__)


def link(url: str, text: Any) -> str:
    return format_html('<a class="lla-link" href="{}">{}</a>', url, text)


def json_text(value: Any) -> str:
    """JSON to be read by people."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="lla-code lla-pre">{}</pre>', text) if value else "–"


class AutocompleteView(AutocompleteJsonView):
    """Offers the rows that their admin says (`autocomplete_rows`), and names them as it says (`autocomplete_label`)."""

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        narrow = getattr(self.model_admin, "autocomplete_rows", None)
        return narrow(self.request, rows) if narrow else rows

    def serialize_result(self, obj: Any, to_field_name: str) -> dict[str, str]:
        label = getattr(self.model_admin, "autocomplete_label", str)
        return {"id": str(getattr(obj, to_field_name)), "text": label(obj)}


class ScopedAutocomplete(AutocompleteSelect):
    """An autocomplete that offers a part of the rows: its scope reaches `autocomplete_rows` as query parameters."""

    def __init__(self, field: Any, admin_site: Any, scope: Mapping[str, str]) -> None:
        super().__init__(field, admin_site)
        self.scope = scope

    def get_url(self) -> str:
        return f"{super().get_url()}?{urlencode(self.scope)}"


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than COUNT_CAP: past that, people search and filter instead of turning pages."""

    template_name = "llmadmin/pagination.html"

    @cached_property
    def _counted(self) -> int:
        if isinstance(self.object_list, models.QuerySet):
            return int(self.object_list.order_by()[: COUNT_CAP + 1].count())
        return len(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self._counted, COUNT_CAP)

    @property
    def is_capped(self) -> bool:
        return self._counted > COUNT_CAP


class StrictJSON(json.JSONDecoder):
    """NaN and Infinity are no JSON, and PostgreSQL keeps neither."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "parse_constant": self._refuse})

    @staticmethod
    def _refuse(name: str) -> NoReturn:
        raise json.JSONDecodeError(f"{name} is not a JSON number", name, 0)


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose save may be refused by a service; the refusal is shown on it like any other error."""

    refusal: AppError | None = None
    aliases: ClassVar[dict[str, str]] = {}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.refusal is None:
            return
        for name, texts in self.refusal.fields.items():
            field = self.aliases.get(name, name)
            for text in texts:
                self.add_error(*((field, text) if field in self.fields else (None, f"{name}: {text}")))
        if not self.refusal.fields or self.refusal.hint:
            self.add_error(None, f"{self.refusal.message} {self.refusal.hint}".strip())

    def add_error(self, field: str | None, error: Any) -> None:
        """Errors about what this form does not show are shown above it."""
        if field is None and hasattr(error, "error_dict") and set(error.error_dict) - set(self.fields):
            for name, found in error.error_dict.items():
                super().add_error(name if name in self.fields else None, found)
        else:
            super().add_error(field, error)


@dataclass(frozen=True, slots=True)
class ObjectAction:
    """A button on a row's own page. It posts; links never change anything."""

    name: str
    label: str
    icon: str
    permission: str
    variant: str
    confirm: str
    when: Callable[[Any], bool] | None


def object_action(
    *,
    label: str,
    icon: str = "",
    permission: str = "change",
    variant: str = "default",
    confirm: str = "",
    when: Callable[[Any], bool] | None = None,
) -> Callable[[Any], Any]:
    """Marks a method `(self, request, obj) -> HttpResponse | None`, to be named in `object_actions`."""

    def mark(method: Any) -> Any:
        method.object_action = ObjectAction(method.__name__, label, icon, permission, variant, confirm, when)
        return method

    return mark
