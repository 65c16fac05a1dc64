"""Import of services from YAML with a review in between: what is applied is exactly what was shown. And the export.

The file may hold keys. What the review's page carries of it is encrypted for the person who sees the page.
"""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.timezone import localdate
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from core import admin_review
from core.admin import actor_of, refusal_text
from core.errors import AppError
from core.secrets import Owner, SealedSecret, SecretError, seal, unseal
from runtimes.services import yaml_import
from runtimes.services.yaml_import import ConfigDiff, RowChange
from runtimes.services.yaml_reading import MAX_BYTES, read

SALT = "services-import"
REVIEW_VALID_S = 3600
ERRORS_SHOWN = 20
_SAYS_KEY = re.compile(r"api_key(?!_env_var)")


class SourceForm(admin_review.SourceForm):
    """Where the services come from."""

    max_bytes = MAX_BYTES


@sensitive_variables()
@sensitive_post_parameters()
def import_view(request: HttpRequest, admin: Any) -> HttpResponse:
    """GET: the form. POST `review`: the difference. POST `apply`: done, if it is still the same one."""
    form = SourceForm(request.POST, request.FILES) if "review" in request.POST else SourceForm()
    context: dict[str, Any] = {"form": form}
    if "review" in request.POST and form.is_valid():
        try:
            context |= _reviewed(request, form.cleaned_data["data"])
        except AppError as error:
            if _SAYS_KEY.search(form.cleaned_data["text"]):
                form.data = {}  # what may hold a key is not shown again
            for text in _told(error):
                form.add_error(None, text)
    elif "apply" in request.POST:
        applied = _applied(request)
        if isinstance(applied, HttpResponse):
            return applied
        context |= applied
    return admin._page(request, "yaml_import.html", "Import services", **context)


@sensitive_variables()
def _applied(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    try:
        review = signing.loads(request.POST.get("review_token", ""), salt=SALT, max_age=REVIEW_VALID_S)
        text = unseal(SealedSecret(review["sealed"]), owner=_owner(request)).reveal(origin=SALT)
    except (signing.BadSignature, SecretError):
        messages.error(request, "This review is not valid any more. Choose the file again.")
        return {}
    try:
        done = yaml_import.apply(read(text), actor=actor_of(request), expected=review["fingerprint"])
    except AppError as error:
        messages.error(request, refusal_text(error))
        try:
            return _reviewed(request, text.encode())
        except AppError:  # nothing of it can be done any more: the message says why
            return {}
    numbers = f"{len(done.added)} added, {len(done.changed)} changed"
    messages.success(request, "Nothing to change." if done.is_empty else f"Imported: {numbers}.")
    return HttpResponseRedirect(reverse("admin:runtimes_llmservice_changelist"))


@sensitive_variables()
def _reviewed(request: HttpRequest, data: bytes) -> dict[str, Any]:
    diff = yaml_import.preview(read(data))
    sealed = seal(data.decode("utf-8-sig"), owner=_owner(request), origin=SALT)
    token = signing.dumps({"sealed": sealed.token, "fingerprint": diff.fingerprint}, salt=SALT)
    return {
        "diff": diff,
        "numbers": [(len(getattr(diff, name)), name) for name in ("added", "changed", "unchanged", "notes")],
        "sections": _sections(diff),
        "review_token": token,
        "form": SourceForm(),
    }


def _owner(request: HttpRequest) -> Owner:
    return Owner("", str(request.user.pk), SALT)


def _sections(diff: ConfigDiff) -> list[dict[str, Any]]:
    return [
        {"name": name, "title": title, "icon": icon, "says": says, "open": True, "rows": [_row(row) for row in rows]}
        | {"count": len(rows)}
        for name, rows, title, icon, says in (
            ("added", diff.added, "Added", "add_circle", "Will have"),
            ("changed", diff.changed, "Changed", "change_circle", "Old → new"),
        )
        if rows
    ]


def _row(row: RowChange) -> dict[str, Any]:
    kind, name = ("", "Defaults of calls") if row.kind == "defaults" else (row.kind, row.name)
    return admin_review.row(kind, name, ((one.field, one.old, one.new) for one in row.fields), row.values)


def _told(error: AppError) -> list[str]:
    """One line for each thing that is wrong."""
    if not error.fields:
        return [" ".join(part for part in (error.message, error.hint) if part)]
    found = [f"{name} {' '.join(texts)}".strip() for name, texts in list(error.fields.items())[:ERRORS_SHOWN]]
    return [*found, *([error.hint] if error.hint else [])]


def export_view() -> HttpResponse:
    """All services, without their keys."""
    name = f"services-{localdate():%Y-%m-%d}.yaml"
    return HttpResponse(
        yaml_import.export(),
        content_type="application/yaml; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
