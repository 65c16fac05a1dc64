"""Prepares an installation: tables, catalogue, first logins. Done once, whatever is there already is left as it is."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, flock
from io import StringIO
from pathlib import Path

import psycopg
from django.conf import settings
from django.contrib.auth.models import User
from django.core import checks
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from core.audit import SYSTEM, Actor
from core.keys import write_private
from llmadmin.checks import FIRST_RUN_FILE
from providers.catalog import formats
from providers.models import LLMFactory
from providers.services import catalog
from runtimes import drivers
from runtimes.models import LLMService
from runtimes.services import health, yaml_import, yaml_reading
from tenants.models import SCOPES, Tenant
from tenants.services import tenants, tokens

ADMIN_NAME = "admin"
TENANT_NAME = "Demo"
CONNECT_WITHIN_S = 5
SAID_AT_START = {"llmadmin.W010", "llmadmin.W011"}  # stored keys that nobody can read, networks that are too wide
# Two installations that start on one database take turns: PostgreSQL's advisory lock of this number.
_TURN = 0x6C6C6D61646D696E


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What nobody can see again, except in the file it is written to."""

    url: str
    admin_user: str
    admin_password: str
    tenant_id: str
    api_token: str

    def __repr__(self) -> str:
        return f"<FirstRun {self.url}>"


def first_run_file() -> Path:
    return settings.DATA_DIR / FIRST_RUN_FILE


def bootstrap(say: Callable[[str], None]) -> FirstRun | None:
    """Make ready what is not; returns the logins if this was the first time."""
    reach_database()
    with _turn():
        migrate(say)
        warn(say)
        load_catalogue(say)
        load_services(say)
        return create_logins()


def reach_database() -> None:
    """Raise OperationalError at once, in the server's words: the pool would go on trying for half a minute."""
    if connection.vendor != "postgresql":
        return
    options = {"connect_timeout": CONNECT_WITHIN_S, **connection.get_connection_params()}
    with connection.wrap_database_errors:
        psycopg.connect(**options).close()


def migrate(say: Callable[[str], None]) -> bool:
    """Bring the tables up to date; False if they were."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not plan:
        return False
    say(f"Preparing the database ({len(plan)} migrations)")
    call_command("migrate", interactive=False, verbosity=0, stdout=StringIO())
    return True


def warn(say: Callable[[str], None]) -> None:
    """Say what cannot work with what is stored: a fresh DATA_DIR beside an old database has other keys."""
    for message in checks.run_checks(tags=[checks.Tags.database], databases=["default"]):
        if message.id in SAID_AT_START:
            say(f"Warning: {message.msg} {message.hint or ''}".rstrip())


def load_catalogue(say: Callable[[str], None]) -> bool:
    """Add what the fixtures have and the catalogue has not; False if they are the same as last time.

    An operator's edits stay; what was deleted here comes back only when the fixtures themselves change.
    """
    files, seen = _Files.of(settings.CATALOG_DIR, "*.json"), settings.DATA_DIR / "catalog.sha256"
    if files.are_those_of(seen) and LLMFactory.objects.exists():
        return False
    diff = catalog.preview(formats.merged([formats.parse(data) for data in files.contents]))
    if not diff.is_empty:
        catalog.apply(diff, actor=SYSTEM, reason="fixtures")
        *_, summary = diff.lines()
        say(f"Catalogue: {summary}")
    files.remember(seen)
    return not diff.is_empty


def load_services(say: Callable[[str], None]) -> bool:
    """Add the services that the fixtures have and the database has not; False if there is nothing new.

    What is there stays as it is; what was deleted comes back only when the fixtures themselves change.
    """
    files, seen = _Files.of(settings.SERVICES_DIR, "*.yaml"), settings.DATA_DIR / "services.sha256"
    if files.are_those_of(seen) and LLMService.objects.exists():
        return False
    added = 0
    for data in files.contents:
        added += len(yaml_import.apply(yaml_reading.read(data), actor=SYSTEM, only_new=True).added)
    if added:
        say(f"Services: {added} added")
    for service in LLMService.objects.enabled().filter(listed_at=None):
        if drivers.get(service.type).in_process:  # there is no network to wait for
            health.look(service)
    files.remember(seen)
    return bool(added)


@dataclass(frozen=True, slots=True)
class _Files:
    """Fixtures, which are read again only when they are not those of last time."""

    contents: list[bytes]
    digest: str

    @classmethod
    def of(cls, folder: Path, pattern: str) -> _Files:
        contents = [file.read_bytes() for file in sorted(folder.glob(pattern))]
        return cls(contents, hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in contents)).hexdigest())

    def are_those_of(self, seen: Path) -> bool:
        return seen.exists() and seen.read_text().strip() == self.digest

    def remember(self, seen: Path) -> None:
        seen.write_text(self.digest + "\n")


def create_logins() -> FirstRun | None:
    """An administrator, a tenant of theirs and its API token, if there are no people yet; None if there are."""
    file = first_run_file()
    with transaction.atomic():
        if User.objects.exists() or Tenant.objects.exists():
            return None
        file.unlink(missing_ok=True)  # of a database that is gone
        password = secrets.token_urlsafe(15)
        admin = User.objects.create_superuser(ADMIN_NAME, password=password)
        actor = Actor(user_id=admin.pk, label=ADMIN_NAME)
        tenant = tenants.create(name=TENANT_NAME, owner=admin, actor=actor)
        _, token = tokens.create(tenant=tenant, name="first run", scopes=list(SCOPES), actor=actor)
        first = FirstRun(settings.PUBLIC_URL, ADMIN_NAME, password, tenant.pk, token)
        # Inside the transaction: logins that exist are always written down somewhere.
        write_private(file, json.dumps(asdict(first), indent=2) + "\n")
    return first


@contextmanager
def _turn() -> Iterator[None]:
    with (settings.DATA_DIR / "bootstrap.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [_TURN])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_TURN])
