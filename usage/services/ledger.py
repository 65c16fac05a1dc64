"""The books: takes metered calls, each once, and keeps what they come to.

A batch is one transaction: the records that are new are inserted, and they alone are added to the day's roll-up and to
the models' `used_tokens`. Given again, in whatever order or mixture, a record changes nothing. Rows are taken in one
order everywhere (records by id, roll-ups by their key, models by id), so that ledgers never wait for each other in a
circle. Models are changed by others too, in orders of their own: for those a ledger waits much less than the second
after which PostgreSQL looks for a deadlock and picks its victim, and begins again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from core.clock import now
from usage.flusher import Refusal
from usage.records import CallRecord
from usage.services import bulk
from usage.services.rows import Key, Row, add, record_row

logger = structlog.get_logger(__name__)

LOCK_TIMEOUT_MS, MODEL_LOCK_TIMEOUT_MS = 5000, 250
TRIES = 5
_BUSY = frozenset({"55P03", "40P01", "40001"})  # a lock is not to be had, a deadlock, a serialization failure

Entry = tuple[CallRecord, Row]


def ingest(records: Sequence[CallRecord]) -> list[Refusal]:
    """Take these calls; returns those that can never be taken. Raises DatabaseError when it cannot take any now."""
    entries: dict[str, Entry] = {}
    refused: list[Refusal] = []
    oldest = oldest_kept().timestamp()
    for record in records:
        try:
            if record.started_at < oldest:
                raise ValueError("it is older than records are kept, and nobody can tell whether it was counted")
            entries[record.id] = (record, record_row(record))
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            refused.append(Refusal(record, f"It is no record of ours: {error}"[:300]))
    return refused + _written([entries[key] for key in sorted(entries)])


def oldest_kept() -> datetime:
    """When the oldest calls began whose records are kept; older ones are dropped by whole days."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=settings.USAGE_RETENTION_DAYS)


def _written(entries: Sequence[Entry]) -> list[Refusal]:
    """Write them in one transaction. A value that the database refuses is searched for by halves."""
    if not entries:
        return []
    try:
        _retried(entries)
    except (DataError, IntegrityError) as error:
        if len(entries) > 1:
            middle = len(entries) // 2
            return _written(entries[:middle]) + _written(entries[middle:])
        logger.error("usage.record_refused", call=entries[0][0].id, error=str(error)[:300])
        return [Refusal(entries[0][0], f"The database refuses it: {error}"[:300])]
    return []


def _retried(entries: Sequence[Entry]) -> None:
    for left in reversed(range(TRIES)):
        try:
            with transaction.atomic():
                _book(entries)
            return
        except OperationalError as error:
            if not left or getattr(error.__cause__, "sqlstate", None) not in _BUSY:
                raise


def _book(entries: Sequence[Entry]) -> None:
    daily: dict[Key, list[int]] = {}
    tokens: dict[int, int] = {}
    with connection.cursor() as cursor:
        _wait_at_most(cursor, LOCK_TIMEOUT_MS)
        new = bulk.insert_records(cursor, [row for _, row in entries])
        for record, row in entries:
            if record.id in new:
                add(daily, row)
                if record.tenant_llm_id is not None and (total := record.usage.total_tokens):
                    tokens[record.tenant_llm_id] = tokens.get(record.tenant_llm_id, 0) + total
        if daily:
            bulk.add_to_days(cursor, [[*key, *daily[key]] for key in sorted(daily)])
        if tokens:
            _wait_at_most(cursor, MODEL_LOCK_TIMEOUT_MS)
            bulk.add_used_tokens(cursor, sorted(tokens.items()))


def _wait_at_most(cursor: Any, timeout_ms: int) -> None:
    """For a row that somebody else has locked, in this transaction. SQLite locks the whole database, beforehand."""
    if connection.vendor == "postgresql":
        cursor.execute(f"SET LOCAL lock_timeout = {timeout_ms}")
