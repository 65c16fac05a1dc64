"""What this room does when something happens elsewhere: keep the audit log, announce routing changes, set up groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import AppConfig
from django.apps import apps as all_apps
from django.apps.registry import Apps
from django.contrib.auth.models import AbstractUser, Group, User
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save, pre_delete
from django.dispatch import receiver

from core import audit
from core.audit import Event
from core.redact import MASK, redact
from providers.models import LLM, LLMFactory
from runtimes.services import changes as service_changes
from tenants.models import ApiToken, AuditEvent, Credential, Membership, Route, RouteTarget, Tenant, TenantLLM
from tenants.services import groups, routing

# --- Audit log ------------------------------------------------------------------------------------------------------

MAX_TEXT = 500
MAX_ENTRIES = 100
MAX_DEPTH = 4
_NAMES_OF_SECRETS = frozenset({"api_key", "key", "password", "secret", "token", "authorization", "values"})


@receiver(audit.recorded, dispatch_uid="tenants.audit")
def keep_event(event: Event, **_: Any) -> None:
    """Store a row on the same connection, and so in the same transaction, as what it tells of."""
    AuditEvent.objects.create(
        action=_text("action", event.action),
        tenant_id=event.tenant_id or "",
        user_id=event.actor.user_id,
        token_id=event.actor.token_id or "",
        actor=_text("actor", event.actor.label),
        address=_text("address", event.actor.address),
        target=_text("target", event.target),
        detail=_clean(dict(event.detail)),
    )


def _text(column: str, text: str) -> str:
    limit = AuditEvent._meta.get_field(column).max_length  # type: ignore[union-attr]
    return _printable(redact(text))[:limit]


def _printable(text: str) -> str:
    """Without what a text column does not take: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _clean(value: Any, *, depth: int = 0) -> Any:
    """JSON without secrets, cut to a size that a log can bear."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        entries = list(value.items())[:MAX_ENTRIES]
        return {
            _clean(str(name)): MASK if str(name).lower() in _NAMES_OF_SECRETS else _clean(inner, depth=depth + 1)
            for name, inner in entries
        }
    if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
        return [_clean(inner, depth=depth + 1) for inner in list(value)[:MAX_ENTRIES]]
    return _printable(redact(str(value)))[:MAX_TEXT]


# --- Routing --------------------------------------------------------------------------------------------------------

# The columns that decide how a call is authenticated and where it goes; `used_tokens` or `last_used_at` do not.
_ROUTED: dict[type[Model], frozenset[str]] = {
    ApiToken: frozenset({"tenant", "digest", "scopes", "allowed_models", "expires_at", "revoked_at"}),
    Membership: frozenset({"tenant", "user", "role"}),
    Credential: frozenset({"tenant", "factory", "label", "base_url", "fields", "secret", "status", "state"}),
    TenantLLM: frozenset(
        {"tenant", "credential", "factory", "llm", "llm_name", "model_types", "max_tokens", "is_tools", "status"}
    ),
    Route: frozenset({"tenant", "name", "model_type", "strategy", "status", "timeout_s", "max_retries"}),
}


def _on_write(instance: Model, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    columns = _ROUTED[type(instance)]
    if update_fields is None or columns.intersection(name.removesuffix("_id") for name in update_fields):
        routing.bump(instance.tenant_id)  # type: ignore[attr-defined]


def _on_target(instance: RouteTarget, origin: Any = None, **_: Any) -> None:
    """A target that goes with its route or its model is announced by them."""
    if origin is None or isinstance(origin, RouteTarget) or getattr(origin, "model", None) is RouteTarget:
        routing.bump(instance.route.tenant_id)


def _on_tenant(instance: Tenant, **_: Any) -> None:
    routing.bump(instance.pk)


def _on_person(instance: AbstractUser, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    """A token can do what its maker may do: it ends with the maker's account."""
    if update_fields is None or update_fields.intersection({"is_active", "is_staff", "is_superuser"}):
        for tenant_id in ApiToken.objects.filter(created_by=instance.pk).values_list("tenant_id", flat=True).distinct():
            routing.bump(tenant_id)


def _on_rights(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        routing.bump_all()


def _on_catalogue(**_: Any) -> None:
    routing.bump_all()


def _on_service(instance: Any, update_fields: frozenset[str] | None = None, **_: Any) -> None:
    """Who may use a service is for its row to say, so it concerns everybody; how it is doing concerns nobody."""
    if update_fields is None or service_changes.ROUTED[type(instance)].intersection(
        name.removesuffix("_id") if name != "tenant_id" else name for name in update_fields
    ):
        routing.bump_all()


@receiver(service_changes.announced, dispatch_uid="tenants.routing.services")
def _on_services(**_: Any) -> None:
    routing.bump_all()


@receiver(audit.recorded, dispatch_uid="tenants.routing.catalogue")
def _on_catalogue_event(event: Event, **_: Any) -> None:
    """Many rows of the catalogue at once are written without a signal for each; the event is recorded all the same."""
    if event.action.partition(".")[0] in ("catalog", "factory", "llm", "service"):
        routing.bump_all()


for _signal, _name in ((post_save, "saved"), (post_delete, "deleted")):
    for _model in _ROUTED:
        _signal.connect(_on_write, sender=_model, dispatch_uid=f"tenants.routing.{_name}.{_model.__name__}")
    _signal.connect(_on_target, sender=RouteTarget, dispatch_uid=f"tenants.routing.{_name}.RouteTarget")
    _signal.connect(_on_tenant, sender=Tenant, dispatch_uid=f"tenants.routing.{_name}.Tenant")
    for _model in (LLMFactory, LLM):
        _signal.connect(_on_catalogue, sender=_model, dispatch_uid=f"tenants.routing.{_name}.{_model.__name__}")
    for _model in service_changes.ROUTED:
        _signal.connect(_on_service, sender=_model, dispatch_uid=f"tenants.routing.{_name}.{_model.__name__}")

for _signal in (post_save, pre_delete):  # once the account is deleted, nothing says which tokens were its
    _signal.connect(_on_person, sender=User, dispatch_uid="tenants.routing.User")
for _rights in (User.groups.through, User.user_permissions.through, Group.permissions.through):
    m2m_changed.connect(_on_rights, sender=_rights, dispatch_uid=f"tenants.routing.{_rights.__name__}")


# --- Staff groups ---------------------------------------------------------------------------------------------------


@receiver(post_migrate, dispatch_uid="tenants.groups")
def keep_groups(sender: AppConfig, using: str, apps: Apps = all_apps, **_: Any) -> None:
    """Give the staff groups the permissions of one app, once Django has made them.

    It runs after each app's own permissions exist, on every `migrate`, and so also for models that come later.
    """
    try:
        apps.get_model("auth", "Group")
        apps.get_model("tenants", "RoutingChange")  # where a change of rights is announced
    except LookupError:  # a migration of single apps that has not come to these yet
        return
    groups.sync(sender.label, using=using)
