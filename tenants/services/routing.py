"""Tells every process of the gateway, in the same transaction, that a tenant's routing has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import connections, router, transaction
from django.dispatch import Signal

from core.clock import now
from tenants.models.routing import EVERYBODY, RoutingChange

committed = Signal()  # sent with `tenant_id` once a change is visible to others, for the store of this very process

RETENTION = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Announcement:
    """What is called on commit. Django forgets it when the savepoint it was made in is rolled back, and with it the
    row: so as long as it is waiting, the row is there and a second one would say nothing new."""

    tenant_id: str

    def __call__(self) -> None:
        committed.send_robust(sender=None, tenant_id=self.tenant_id)


def bump(tenant_id: str) -> None:
    """Something that this tenant's calls resolve to was written: call it in the transaction that writes.

    Signals do it for `save()` and `delete()`; a service that uses `update()`, `bulk_create()` or `bulk_update()` on
    tokens, credentials, models or tenants must do it itself.
    """
    database = router.db_for_write(RoutingChange)
    announcement = _Announcement(tenant_id)
    connection = connections[database]
    if connection.in_atomic_block and any(entry[1] == announcement for entry in connection.run_on_commit):
        return
    with transaction.atomic(using=database, savepoint=False):
        RoutingChange.objects.using(database).create(tenant_id=tenant_id)
        transaction.on_commit(announcement, using=database)


def bump_all() -> None:
    """Something that concerns every tenant was written, such as the catalogue."""
    bump(EVERYBODY)


def prune() -> int:
    """Delete what every process has long seen; answers how many rows."""
    return RoutingChange.objects.filter(created_at__lt=now() - RETENTION).delete()[0]
