"""What the pages of tenant-owned things share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest

from core.admin import badge, display, object_action
from core.secrets import SecretError
from providers.errors import Verdict
from providers.models import INVALID, VALID
from tenants.models import Credential, CredentialState

STATE_KINDS = {
    CredentialState.OK: "success",
    CredentialState.FAILING: "warning",
    CredentialState.QUARANTINED: "danger",
}
_PASSING = {Verdict.RATE_LIMITED, Verdict.TIMED_OUT, Verdict.UNREACHABLE, Verdict.UNSUPPORTED}


class Operated:
    """Mixin: who may change a row may also switch and test it; the permission `operate_…` allows only that."""

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        opts = self.opts  # type: ignore[attr-defined]
        return bool(
            self.has_change_permission(request, obj)  # type: ignore[attr-defined]
            or request.user.has_perm(f"{opts.app_label}.operate_{opts.model_name}")
        )


class Switched(Operated):
    """Mixin: rows that are enabled and disabled, many at once in the list or by buttons of their pages."""

    actions: Sequence[str] = ("enable", "disable")

    def set_status(self, request: HttpRequest, rows: list[Any], status: str) -> int:
        """Switch the rows through their service; how many there were."""
        raise NotImplementedError

    def switch(self, request: HttpRequest, rows: Iterable[Any], status: str) -> None:
        count = self.set_status(request, list(rows), status)
        self.message_user(request, f"{count} {'enabled' if status == VALID else 'disabled'}.")  # type: ignore[attr-defined]

    @admin.action(description="Enable", permissions=["operate"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.switch(request, queryset, VALID)

    @admin.action(description="Disable", permissions=["operate"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.switch(request, queryset, INVALID)

    @object_action(label="Enable", icon="toggle_on", permission="operate", when=lambda row: row.status != VALID)
    def switch_on(self, request: HttpRequest, row: Any) -> None:
        self.switch(request, [row], VALID)

    @object_action(label="Disable", icon="toggle_off", permission="operate", when=lambda row: row.status == VALID)
    def switch_off(self, request: HttpRequest, row: Any) -> None:
        self.switch(request, [row], INVALID)

    @display(description="status", ordering="status", label={"enabled": "success", "disabled": "danger"})
    def status_label(self, row: Any) -> str:
        return str(row.get_status_display())


def verdict_badge(verdict: str, title: str = "") -> str:
    """A verdict, coloured by how bad it is."""
    if verdict == Verdict.OK:
        kind = "success"
    elif verdict == Verdict.UNTESTED:
        kind = ""
    else:
        kind = "warning" if verdict in _PASSING else "danger"
    return badge(verdict.replace("_", " "), kind, title)


def state_badge(credential: Credential) -> str:
    return badge(
        credential.get_state_display(), STATE_KINDS.get(CredentialState(credential.state), ""), credential.reason
    )


def key_text(credential: Credential) -> str:
    """What may be shown of a key: its last four characters, and whether it can still be read."""
    if credential.secret is None:
        return "no key"
    try:
        credential.open_secret()
    except SecretError as error:
        return badge("unreadable", "danger", str(error))
    return f"•••• {credential.secret_last4}".strip()


def counts_by(model: type[Model], column: str, keys: Iterable[Any], **filters: Any) -> dict[Any, int]:
    """How many rows of a model belong to each key; one query over an index."""
    rows = model._default_manager.order_by().filter(**{f"{column}__in": list(keys)}, **filters)
    return dict(rows.values_list(column).annotate(Count("pk")))
