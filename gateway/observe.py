"""Tells of a call that has ended: metrics, its trace, and one line of the log that says nothing of what was asked.

The line is written without the chain that other log lines pass, which costs as much as the rest of a call: its fields
are known, and of them only names that people chose can hold a key. Without INFO in force a call pays for metrics alone.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import lru_cache

import orjson
from django.conf import settings

from core.redact import redact
from gateway import metrics, tracing
from gateway.call import Call
from usage.records import CallRecord

NAME = "gateway.call"
_logger = logging.getLogger(NAME)
_IDS = re.compile(r"[0-9a-f-]{8,64}")
_PLAIN = re.compile(r"[\w.@/:~+-]+", re.ASCII)


def observe(call: Call, record: CallRecord) -> None:
    """Called once a call, when its record is in the ledger."""
    metrics.counts.observe(record)
    tracing.trace(call, record)
    if _logger.isEnabledFor(logging.INFO):
        _logger.info(line(record, as_json=settings.LOG_FORMAT == "json"))


def line(record: CallRecord, *, as_json: bool) -> str:
    """What the log says of a call."""
    used = record.usage
    said = {
        "request_id": record.request_id if _IDS.fullmatch(record.request_id) else redact(record.request_id),
        "tenant": record.tenant_id,
        "token": record.token_id,
        "operation": record.operation,
        "model": _safe(record.model),
        "target": _safe(record.attempts[-1][0]) if record.attempts else "",
        "outcome": record.outcome,
        "status": record.status,
        "error": record.error_code,
        "ms": record.latency_ms,
        "first_token_ms": record.first_token_ms,
        "input_tokens": used.prompt_tokens,
        "output_tokens": used.completion_tokens,
        "cost_usd": None if record.cost is None else f"{record.cost:f}",
        "attempts": len(record.attempts),
    }
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if as_json:
        return orjson.dumps({**said, "event": NAME, "level": "info", "logger": NAME, "timestamp": at}).decode()
    words = " ".join(f"{name}={_word(value)}" for name, value in said.items() if value is not None and value != "")
    return f"{at} [info     ] {NAME} {words}"


@lru_cache(4096)
def _safe(name: str) -> str:
    return redact(name).encode("utf-8", "replace").decode()


def _word(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else ascii(text)
