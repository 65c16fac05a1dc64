"""What a metered call is in the ledger's tables: values that any database takes, in the order of the columns."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.ids import ID_LENGTH
from usage.models.fields import to_units
from usage.models.records import (
    CODE_LENGTH,
    DIMENSIONS,
    FACTORY_LENGTH,
    LABEL_LENGTH,
    LLM_NAME_LENGTH,
    MEASURES,
    MODEL_LENGTH,
    OPERATION_LENGTH,
)
from usage.records import COUNTS, LARGEST_COUNT, CallRecord, Outcome

RECORD_COLUMNS = (
    *("id", "tenant_id", "token_id", "tenant_llm_id", "started_at", "latency_ms", "first_token_ms", "status"),
    *COUNTS,
    *("cost", "estimated", "stream", "outcome", "operation", "factory", "llm_name", "model", "route", "error_code"),
    *("attempts", "request_id", "end_user"),
)
DAILY_COLUMNS = (*DIMENSIONS, *MEASURES)
_SMALLEST_BIG, _LARGEST_SMALL, _LARGEST_BIG = -(2**63), 2**15 - 1, 2**63 - 1
_ATTEMPTS = 20
_HEX = frozenset("0123456789abcdef")
_OUTCOMES = frozenset(Outcome)

Row = list[Any]
Key = tuple[Any, ...]


def record_row(record: CallRecord) -> Row:
    """The values of a record, as JSON has them; raises ValueError for one that no book can hold."""
    used = record.usage
    if record.outcome not in _OUTCOMES:
        raise ValueError(f"There is no outcome {str(record.outcome)[:40]!r}.")
    counts = [getattr(used, name) for name in COUNTS]
    for count in counts:
        if count is not None and not 0 <= count <= LARGEST_COUNT:
            raise ValueError(f"{count} is no count of a call.")
    began = datetime.fromtimestamp(record.started_at, UTC).replace(tzinfo=None)
    return [
        _id(record.id),
        _id(record.tenant_id),
        _id(record.token_id) if record.token_id else None,
        _model_id(record.tenant_llm_id),
        str(began),
        _bounded(record.latency_ms),
        None if record.first_token_ms is None else _bounded(record.first_token_ms),
        min(_bounded(record.status), _LARGEST_SMALL),
        *counts,
        _units(record.cost),
        bool(used.estimated),
        bool(record.stream),
        str(record.outcome),
        _text(record.operation, OPERATION_LENGTH),
        _text(record.factory, FACTORY_LENGTH),
        _text(record.llm_name, LLM_NAME_LENGTH),
        _text(record.model, MODEL_LENGTH),
        _text(record.route, LLM_NAME_LENGTH),
        _text(record.error_code, CODE_LENGTH),
        _attempts(record),
        _text(record.request_id, LABEL_LENGTH),
        _text(record.end_user, LABEL_LENGTH),
    ]


def add(daily: dict[Key, list[int]], row: Row) -> None:
    """Add a record's row to the sums of its day."""
    (_, tenant_id, token_id, tenant_llm_id, began, _, _, _), rest = row[:8], row[8:]
    counts, (cost, estimated, _, outcome, operation, factory, llm_name) = rest[: len(COUNTS)], rest[len(COUNTS) :][:7]
    key = (tenant_id, began[:10], token_id or "", tenant_llm_id or 0, factory, llm_name, operation)
    sums = daily.get(key)
    if sums is None:
        sums = daily[key] = [0] * len(MEASURES)
    failed = outcome == "error"
    sums[0] += 1
    sums[1] += failed
    sums[2] += estimated
    sums[3] += cost is None and not failed
    for place, count in enumerate(counts, 4):
        if count:
            sums[place] += count
    sums[-1] += cost or 0


def _id(value: str) -> str:
    if len(value) != ID_LENGTH or not _HEX.issuperset(value):
        raise ValueError(f"{value[:40]!r} is no id.")
    return value


def _model_id(value: int | None) -> int | None:
    if value is not None and not _SMALLEST_BIG <= value <= _LARGEST_BIG:
        raise ValueError(f"{value} is no id of a tenant's model.")
    return value


def _units(cost: Decimal | None) -> int | None:
    units = None if cost is None else to_units(cost)
    if units is not None and units < 0:
        raise ValueError(f"{cost} is no cost.")
    return units


def _bounded(number: int) -> int:
    return max(0, min(number, LARGEST_COUNT))


def _text(value: str, length: int) -> str:
    """What a caller or an upstream said, cut to the column; PostgreSQL keeps no NUL, and nobody half a character."""
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\0", "")[:length]


def _attempts(record: CallRecord) -> list[list[Any]] | None:
    """The tries, if there is more to say of them than that the first one answered."""
    tried = record.attempts
    if not tried or (len(tried) == 1 and tried[0][1] == "ok"):
        return None
    return [
        [_text(model, MODEL_LENGTH), _text(said, CODE_LENGTH), _bounded(took)]
        for model, said, took in tried[:_ATTEMPTS]
    ]
