"""Import with a review in between: what is applied is exactly what was shown. And the export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.timezone import localdate

from core import admin_review
from core.admin import actor_of, refusal_text, widgets
from core.errors import AppError
from providers.catalog import formats
from providers.catalog.diff import CatalogDiff, RowDiff
from providers.catalog.render import plain
from providers.services import catalog

SALT = "catalogue-import"
REVIEW_VALID_S = 24 * 3600
MAX_FILE_BYTES = 16 * 1024 * 1024
ROWS_SHOWN = 1000
_SAYS = {"kept": "edited here, kept", "removed": "not in the file"}


class SourceForm(admin_review.SourceForm):
    """Where the catalogue comes from, and how it is to be read."""

    max_bytes = MAX_FILE_BYTES
    format = forms.ChoiceField(required=False, widget=widgets.UnfoldAdminSelectWidget)
    overwrite = forms.BooleanField(
        required=False,
        widget=widgets.UnfoldBooleanSwitchWidget,
        label="Overwrite operators' edits",
        help_text="Otherwise fields that people edited here since the last import keep their values.",
    )
    retire = forms.BooleanField(
        required=False,
        widget=widgets.UnfoldBooleanSwitchWidget,
        label="Retire what is gone",
        help_text="Disable rows that came from this format and are not in the file any more. Nothing is deleted.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["format"].choices = [("", "detect"), *((name, name) for name in formats.names())]  # type: ignore[attr-defined]


def import_view(admin: Any, request: HttpRequest) -> HttpResponse:
    """GET: the form. POST `review`: the difference. POST `apply`: done, if it is still the same one."""
    context: dict[str, Any] = {"form": SourceForm(), "title": "Import a catalogue"}
    if request.method == "POST":
        try:
            if "review" in request.POST:
                form = SourceForm(request.POST, request.FILES)
                context["form"] = form
                if form.is_valid():
                    given = form.cleaned_data
                    context |= _reviewed(given["data"], given["format"], given["overwrite"], given["retire"])
            else:
                applied = _decide(request)
                if isinstance(applied, HttpResponse):
                    return applied
                context |= applied
        except AppError as error:
            messages.error(request, refusal_text(error))
    context |= {**admin.admin_site.each_context(request), **context, "opts": admin.opts}
    return render(request, "llmadmin/catalogue_import.html", context)


def _decide(request: HttpRequest) -> HttpResponse | dict[str, Any]:
    """Apply what was reviewed, hand out its report, or review anew when the options or the catalogue have changed."""
    try:
        review = signing.loads(request.POST.get("review_token", ""), salt=SALT, max_age=REVIEW_VALID_S)
    except signing.BadSignature:
        messages.error(request, "This review is not valid any more. Choose the file again.")
        return {}
    data, wanted = review["text"].encode(), {name: name in request.POST for name in ("overwrite", "retire")}
    if "report" not in request.POST and wanted != {name: review[name] for name in wanted}:
        messages.warning(request, "The options have changed: this is the difference with the new ones.")
        return _reviewed(data, review["format"], **wanted)
    diff = catalog.preview_file(
        data, format_name=review["format"], overwrite=review["overwrite"], retire=review["retire"]
    )
    if "report" in request.POST:
        return _text("\n".join(diff.lines()) + "\n", "text/plain", "catalogue-import.txt")
    try:
        done = catalog.apply(diff, actor=actor_of(request), expected=review["fingerprint"])
    except AppError as error:
        messages.error(request, refusal_text(error))
        return _reviewed(data, review["format"], **wanted)
    numbers = ", ".join(f"{count} {name}" for name, count in done.summary.items() if count)
    messages.success(request, f"Imported ({done.format}): {numbers or 'nothing to change'}.")
    return HttpResponseRedirect(reverse("admin:providers_llmfactory_changelist"))


def _reviewed(data: bytes, format_name: str, overwrite: bool, retire: bool) -> dict[str, Any]:
    diff = catalog.preview_file(data, format_name=format_name, overwrite=overwrite, retire=retire)
    review = {"text": data.decode(), "format": diff.format, "overwrite": overwrite, "retire": retire}
    token = signing.dumps({**review, "fingerprint": diff.fingerprint}, salt=SALT, compress=True)
    form = SourceForm(initial={"overwrite": overwrite, "retire": retire})
    return {
        "diff": diff,
        "numbers": [(count, _SAYS.get(name, name)) for name, count in diff.summary.items()],
        "sections": list(_sections(diff)),
        "review_token": token,
        "form": form,
        "options": [form["overwrite"], form["retire"]],
    }


def _sections(diff: CatalogDiff) -> Iterator[dict[str, Any]]:
    gone = "Disabled, because they are not in the file" if diff.retire else "Not in the file: they stay as they are"
    kept = "Edited here and kept: the file says otherwise"
    for name, rows, title, icon, says in (
        ("added", diff.added, "Added", "add_circle", "Will hold"),
        ("changed", diff.changed, "Changed", "change_circle", "Old → new"),
        ("kept", diff.kept, kept, "lock", "Here → in the file"),
        ("removed", diff.removed, gone, "do_not_disturb_on", "Old → new"),
    ):
        if rows:
            shown = [_row(row) for row in rows[:ROWS_SHOWN]]
            yield {
                "name": name,
                "title": title,
                "icon": icon,
                "says": says,
                "open": name in ("changed", "kept"),
                "rows": shown,
                "count": len(rows),
                "more": len(rows) - len(shown),
            }


def _row(row: RowDiff) -> dict[str, Any]:
    changes = ((one.field, plain(one.old), plain(one.new)) for one in row.fields)
    values = {name: plain(value) for name, value in row.values.items()}
    return admin_review.row(row.kind, row.name, changes, values)


def export_view(request: HttpRequest) -> HttpResponse:
    """The whole catalogue, or `?factory=` one factory of it, in our own format."""
    return _text(
        catalog.export(request.GET.get("factory", "")), "application/json", f"catalogue-{localdate():%Y-%m-%d}.json"
    )


def _text(body: str, media_type: str, name: str) -> HttpResponse:
    return HttpResponse(
        body,
        content_type=f"{media_type}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
