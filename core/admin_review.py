"""Imports that are reviewed before they are applied: the form for a file or its text, and what would change as cells.

Pages include `llmadmin/review_form.html` for the form and `llmadmin/review.html` for the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from core.admin import CodeArea, widgets

CELL_LENGTH = 200


class SourceForm(forms.Form):
    """A file, or its text: `cleaned_data["data"]` is what was given, as bytes, and `max_bytes` at the most."""

    max_bytes: ClassVar[int]
    file = forms.FileField(required=False, widget=widgets.UnfoldAdminFileFieldWidget)
    text = forms.CharField(required=False, strip=False, label="…or paste it", widget=CodeArea({"rows": 12}))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        upload, text = cleaned.get("file"), cleaned.get("text") or ""
        if upload and text:
            raise ValidationError("Choose a file or paste its text, not both.")
        if (upload.size if upload else len(text)) > self.max_bytes:  # not read into memory to find that out
            raise self._too_large()
        data = upload.read() if upload else text.encode(errors="replace")
        if len(data) > self.max_bytes:
            raise self._too_large()
        if not data.strip():
            raise ValidationError("Choose a file, or paste its text.")
        return {**cleaned, "data": data}

    def _too_large(self) -> ValidationError:
        return ValidationError(f"It is larger than {self.max_bytes // 2**20} MiB.")


def row(kind: str, name: str, changes: Iterable[tuple[str, Any, Any]], values: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the difference: its changes (field, old, new), or what a new one will hold, without what is empty."""
    return {
        "kind": kind,
        "name": name,
        "fields": [{"field": field, "old": cell(old), "new": cell(new)} for field, old, new in changes],
        "values": {field: cell(value) for field, value in values.items() if value not in ("", None, [], {})},
    }


def cell(value: Any) -> str:
    """A plain value as people read it in a table: short, and never a Python literal."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = ", ".join(value) or "nothing"
    elif isinstance(value, bool | list | dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= CELL_LENGTH else f"{text[:CELL_LENGTH]}…"
