"""Django's users and groups, and failed logins, in the same theme; changes of them are audited, too."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest

from core import audit
from core.admin import (
    AdminPasswordChangeForm,
    BooleanRadioFilter,
    ModelAdmin,
    ReadOnly,
    UserChangeForm,
    UserCreationForm,
    actor_of,
)

# Theirs are registered before ours: without the theme, and (axes) open to edits.
admin.site.unregister([model for model in admin.site._registry if model._meta.app_label in ("auth", "axes")])


class Audited:
    """Mixin for tables that no service of ours writes: each change is an audit event."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, obj, "created")
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        changed = message if isinstance(message, str) else [name for part in message for name in _fields(part)]
        self._record(request, obj, "updated", changed=changed)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record(request, obj, "deleted")
        return super().log_deletions(request, queryset)  # type: ignore[misc]

    @staticmethod
    def _record(request: HttpRequest, obj: Any, verb: str, **detail: Any) -> None:
        audit.record(f"{obj._meta.model_name}.{verb}", actor=actor_of(request), target=str(obj)[:255], **detail)


def _fields(part: dict[str, Any]) -> list[str]:
    return list(part.get("changed", {}).get("fields", []))


@admin.register(User)
class UserAdmin(Audited, DjangoUserAdmin, ModelAdmin):  # type: ignore[misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = (
        ("is_staff", BooleanRadioFilter),
        ("is_superuser", BooleanRadioFilter),
        ("is_active", BooleanRadioFilter),
    )
    search_fields = ("username", "email", "first_name", "last_name")
    warn_unsaved_form = False
    list_disable_select_all = True


@admin.register(Group)
class GroupAdmin(Audited, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessAttempt)
class LoginFailureAdmin(ReadOnly, ModelAdmin):
    """Failed logins. Deleting one lets its user try again."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start", "user_agent")
    search_fields = ("username", "ip_address")
    ordering = ("-id",)
    fields = ("attempt_time", "username", "ip_address", "user_agent", "path_info", "failures_since_start")
    actions = ("delete_selected",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("axes.delete_accessattempt"))
