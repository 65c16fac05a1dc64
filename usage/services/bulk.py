"""Writing many rows of the ledger at once, as each database does it best.

PostgreSQL gets a batch as one JSON text, which costs this process a microsecond a row instead of sixty for as many
bound parameters; SQLite, which is inside of this process, is quickest with prepared statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from django.db import connection
from django.db.models import Model

from tenants.models import TenantLLM
from usage.models import UsageDaily, UsageRecord
from usage.models.records import DIMENSIONS, MEASURES
from usage.services.rows import DAILY_COLUMNS, RECORD_COLUMNS, Row


def insert_records(cursor: Any, rows: Sequence[Row]) -> set[str]:
    """Insert the rows that are not there yet, in this order; the ids of those that were not."""
    ids = [row[0] for row in rows]
    if connection.vendor == "postgresql":
        cursor.execute(
            f"{_from_json(UsageRecord, RECORD_COLUMNS)} ON CONFLICT DO NOTHING "
            f"RETURNING replace({_quoted('id')}::text, '-', '')",
            [orjson.dumps(rows).decode()],
        )
        return {found for (found,) in cursor.fetchall()}
    # SQLite lets one write at a time, and this one has begun: what is there now is there when it inserts.
    table = _quoted(UsageRecord._meta.db_table)
    cursor.execute(
        f"SELECT id FROM {table} WHERE id IN (SELECT value FROM json_each(%s))",  # noqa: S608  (no value in the text)
        [orjson.dumps(ids).decode()],
    )
    known = {found for (found,) in cursor.fetchall()}
    new = [row for row in rows if row[0] not in known]
    cursor.executemany(_values(UsageRecord, RECORD_COLUMNS), [_bound(row) for row in new])
    return {row[0] for row in new}


def add_to_days(cursor: Any, rows: Sequence[Row]) -> None:
    """Add sums to the roll-up, in this order; a row that is not there yet is made."""
    table = _quoted(UsageDaily._meta.db_table)
    sums = ", ".join(f"{_quoted(name)} = {table}.{_quoted(name)} + EXCLUDED.{_quoted(name)}" for name in MEASURES)
    on_conflict = f" ON CONFLICT ({', '.join(map(_quoted, DIMENSIONS))}) DO UPDATE SET {sums}"
    if connection.vendor == "postgresql":
        cursor.execute(_from_json(UsageDaily, DAILY_COLUMNS) + on_conflict, [orjson.dumps(rows).decode()])
    else:
        cursor.executemany(_values(UsageDaily, DAILY_COLUMNS) + on_conflict, rows)


def add_used_tokens(cursor: Any, tokens: Sequence[tuple[int, int]]) -> None:
    """Add to what models have used: (id, tokens), in this order. Models that are gone are passed over."""
    table = _quoted(TenantLLM._meta.db_table)
    cursor.executemany(
        f"UPDATE {table} SET used_tokens = used_tokens + %s WHERE id = %s",  # noqa: S608  (no value in the text)
        [(count, pk) for pk, count in tokens],
    )


def _from_json(model: type[Model], columns: Sequence[str]) -> str:
    """An INSERT of the rows of a JSON array of arrays, in its order."""
    chosen = ", ".join(_cast(model, name, place) for place, name in enumerate(columns))
    return (
        f"INSERT INTO {_quoted(model._meta.db_table)} ({', '.join(map(_quoted, columns))}) "  # noqa: S608
        f"SELECT {chosen} FROM jsonb_array_elements(%s::jsonb) AS entry(v)"
    )


def _cast(model: type[Model], name: str, place: int) -> str:
    kind = model._meta.get_field(name).db_type(connection)
    if kind == "jsonb":
        return f"NULLIF(v->{place}, 'null'::jsonb)"
    if kind == "timestamp with time zone":
        return f"(v->>{place})::timestamp AT TIME ZONE 'UTC'"
    return f"(v->>{place})::{kind}"


def _values(model: type[Model], columns: Sequence[str]) -> str:
    places = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({', '.join(map(_quoted, columns))}) VALUES ({places})"  # noqa: S608


def _bound(row: Row) -> Row:
    """The values as SQLite binds them: JSON as a text."""
    return [orjson.dumps(value).decode() if isinstance(value, list) else value for value in row]


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
