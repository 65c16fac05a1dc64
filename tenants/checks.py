"""System checks of what is stored (`manage.py check --database default`, and every `migrate`).

W010  stored keys that no configured key decrypts
W011  a factory or a service may call networks that it should not
W012  the catalogue names dialects that are not installed, for a factory, a model type or a model
W013  the catalogue names signers that are not installed, likewise
W021  a service that only pretends is open to all tenants of an installation with a public address
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from core.checks import network_messages
from core.secrets import SecretError
from providers import dialects, signers
from providers.models import LLM, LLMFactory
from runtimes import drivers
from runtimes.models import Audience, LLMService
from tenants.models import Credential

ROOMS = ("jobs", "providers", "runtimes", "tenants")  # whose tables are read here
SAMPLE = 200

Messages = list[CheckMessage]
Check = Callable[..., Messages]


def of_stored_rows(check: Callable[[str], Messages]) -> Check:
    """Registers a check that reads the database; it has nothing to say before the tables are as the code expects."""

    @register(Tags.database)
    def checked(app_configs: Sequence[AppConfig] | None, databases: Iterable[str] | None = None, **_: Any) -> Messages:
        if "default" not in (databases or ()):
            return []
        try:
            executor = MigrationExecutor(connections["default"])
            ours = [key for key in executor.loader.graph.leaf_nodes() if key[0] in ROOMS]
            return [] if executor.migration_plan(ours) else check("default")
        except DatabaseError:
            return []  # that it cannot be reached is said by others

    return checked


@of_stored_rows
def check_stored_keys(database: str) -> Messages:
    rows = Credential.objects.using(database).exclude(secret=None).only("id", "tenant_id", "secret")
    newest, oldest = rows.order_by("-id")[: SAMPLE // 2], rows.order_by("id")[: SAMPLE // 2]
    sample = {row.pk: row for row in [*newest, *oldest]}
    unreadable = [pk for pk, row in sample.items() if not _is_readable(row)]
    if not unreadable:
        return []
    if len(unreadable) == len(sample):
        said = f"None of the {len(sample)} stored keys looked at can be decrypted."
    else:
        said = (
            f"{len(unreadable)} of {len(sample)} stored keys looked at cannot be decrypted, {unreadable[0]} among them."
        )
    return [
        Warning(
            said,
            hint="Start with the keys they were saved under (FIELD_ENCRYPTION_KEY, or keys.json in DATA_DIR). "
            "manage.py rotate_secrets --dry-run names every one.",
            id="llmadmin.W010",
        )
    ]


def _is_readable(row: Credential) -> bool:
    try:
        row.open_secret()
    except SecretError:
        return False
    return True


@of_stored_rows
def check_networks(database: str) -> Messages:
    found = []
    for what, model in (("factory", LLMFactory), ("service", LLMService)):
        rows = model._default_manager.using(database).exclude(allowed_networks=[])
        for name, networks in rows.values_list("name", "allowed_networks"):
            found += network_messages(networks, f"The {what} {name}", Warning, "W011", "W011")
    return found


@of_stored_rows
def check_pretending_services(database: str) -> Messages:
    if not settings.PUBLIC_URL.startswith("https://"):
        return []
    types = [driver.type for driver in drivers.installed().values() if driver.in_process]
    open_to_all = LLMService.objects.using(database).enabled().filter(type__in=types, audience=Audience.ALL)
    return [
        Warning(
            f"The service “{name}” only pretends to be a runtime, and every tenant may call and change its models.",
            hint="Disable it in the admin, or let only some tenants use it, once others than you work here.",
            id="llmadmin.W021",
        )
        for name in open_to_all.values_list("name", flat=True)
    ]


@of_stored_rows
def check_dialects(database: str) -> Messages:
    return _missing(database, "dialect", dialects.is_installed, "W012")


@of_stored_rows
def check_signers(database: str) -> Messages:
    return _missing(database, "signer", signers.is_installed, "W013")


def _missing(database: str, column: str, is_installed: Callable[[str], bool], check_id: str) -> Messages:
    missing = {name: count for name, count in _used(database, column).items() if not is_installed(name)}
    if not missing:
        return []
    listed = ", ".join(f"“{name}” ({count} factories)" for name, count in sorted(missing.items()))
    return [
        Warning(
            f"The catalogue names a {column} that is not installed: {listed}.",
            hint=f"What needs it cannot be called. Install the package that has the {column}, or disable those rows.",
            id=f"llmadmin.{check_id}",
        )
    ]


def _used(database: str, column: str) -> Counter[str]:
    """By how many factories each dialect or signer is used: for all, for a model type, or for a model of theirs."""
    quirk = f"{column}s"
    used: dict[int, set[str]] = {}
    factories = LLMFactory.objects.using(database).valid().values_list("pk", column, f"quirks__{quirk}")
    models = LLM.objects.using(database).valid().filter(factory__in=[pk for pk, *_ in factories])
    for pk, name, quirks in factories:
        used[pk] = {name, *filter(None, (quirks or {}).values())}
    for pk, quirks in models.filter(**{"quirks__has_key": quirk}).values_list("factory", f"quirks__{quirk}"):
        used[pk].update(filter(None, (quirks or {}).values()))
    return Counter(name for names in used.values() for name in names)
