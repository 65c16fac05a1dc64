"""What this process counts of its calls, and what it can be asked about itself. Cheap enough for every call.

Plain counters of our own, since the common client library costs more a call than all of metering, and cannot add up
processes without writing each increment to a file. `gateway.published` adds up processes; `llmadmin.metrics` renders.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from gateway import store
from usage.records import TOKENS, CallRecord

if TYPE_CHECKING:
    from gateway.pipeline import Engine

MAX_SERIES = 2_000
OTHER = "other"  # the model of what comes when there are that many
DURATION_MS = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000)
FIRST_TOKEN_MS = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 60_000)

Labels = tuple[str, str, str, str, str, int]  # tenant, operation, factory, model, outcome, status
Attempted = tuple[str, str]  # name@factory, "ok" or an error code


@dataclass(slots=True)
class Series:
    """The calls that share all labels. Buckets hold what is in each alone; the last one holds what is above all."""

    calls: int = 0
    duration_ms: int = 0
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION_MS) + 1))
    first_ms: int = 0
    firsts: list[int] = field(default_factory=lambda: [0] * (len(FIRST_TOKEN_MS) + 1))
    tokens: list[int] = field(default_factory=lambda: [0] * len(TOKENS))
    cost: Decimal = Decimal(0)

    def add(self, other: Series) -> None:
        self.calls += other.calls
        self.duration_ms += other.duration_ms
        self.first_ms += other.first_ms
        self.cost += other.cost
        for mine, others in (
            (self.durations, other.durations),
            (self.firsts, other.firsts),
            (self.tokens, other.tokens),
        ):
            for index, count in enumerate(others):
                mine[index] += count


class Counts:
    """Counters that only grow. Any thread may add to them. `by_tenant` keeps tenants apart, which multiplies series."""

    def __init__(self, *, by_tenant: bool = False) -> None:
        self.by_tenant = by_tenant
        self.clear()

    def clear(self) -> None:
        self._lock = threading.Lock()
        self.series: dict[Labels, Series] = {}
        self.attempts: dict[Attempted, int] = {}
        self.refused: dict[str, int] = {}
        self.traces: dict[str, int] = {}

    def observe(self, record: CallRecord) -> None:
        """Count a call that has ended."""
        key = (
            record.tenant_id if self.by_tenant else "",
            record.operation, record.factory, record.llm_name, record.outcome, record.status,
        )  # fmt: skip
        used, first_ms = record.usage, record.first_token_ms
        with self._lock:
            one = self.series.get(key) or self._series(key)
            one.calls += 1
            one.duration_ms += record.latency_ms
            one.durations[bisect_left(DURATION_MS, record.latency_ms)] += 1
            if first_ms is not None:
                one.first_ms += first_ms
                one.firsts[bisect_left(FIRST_TOKEN_MS, first_ms)] += 1
            tokens = one.tokens
            if used.input_tokens:
                tokens[_INPUT] += used.input_tokens
            if used.output_tokens:
                tokens[_OUTPUT] += used.output_tokens
            for index, name in _RARE:
                if count := getattr(used, name):
                    tokens[index] += count
            if record.cost:
                one.cost += record.cost
            attempts = self.attempts
            for model_id, code, _ in record.attempts:
                tried = (model_id, code)
                if tried in attempts:
                    attempts[tried] += 1
                else:
                    self._attempted(tried, 1)

    def refuse(self, kind: str) -> None:
        """Count a call that was not admitted; `kind` as in `usage.admission.Refused`."""
        with self._lock:
            self.refused[kind] = self.refused.get(kind, 0) + 1

    def trace(self, outcome: str, count: int = 1) -> None:
        """Count traces by what became of them."""
        with self._lock:
            self.traces[outcome] = self.traces.get(outcome, 0) + count

    def add(self, data: Mapping[str, Any]) -> None:
        """Add what `as_data` said, of this or another process; raises KeyError, TypeError or ValueError."""
        with self._lock:
            for labels, values in data["series"]:
                calls, duration_ms, durations, first_ms, firsts, tokens, cost = values
                key: Labels = (*labels,)
                self.sum(key, Series(calls, duration_ms, durations, first_ms, firsts, tokens, Decimal(cost)))
            for tried, count in data["attempts"]:
                self._attempted((*tried,), count)
            for mine, name in ((self.refused, "refused"), (self.traces, "traces")):
                for kind, count in data[name].items():
                    mine[kind] = mine.get(kind, 0) + count

    def sum(self, key: Labels, one: Series) -> None:
        """Add a series to the one of these labels."""
        (self.series.get(key) or self._series(key)).add(one)

    def as_data(self) -> dict[str, Any]:
        """All counts, as JSON takes them."""
        with self._lock:
            return {
                "series": [
                    (key, (s.calls, s.duration_ms, [*s.durations], s.first_ms, [*s.firsts], [*s.tokens], str(s.cost)))
                    for key, s in self.series.items()
                ],
                "attempts": list(self.attempts.items()),
                "refused": dict(self.refused),
                "traces": dict(self.traces),
            }

    def _series(self, key: Labels) -> Series:
        """A new one, if there may be more; the lock is held."""
        if len(self.series) >= MAX_SERIES:
            tenant, operation, _, _, outcome, status = key
            key = (tenant if len(self.series) < 2 * MAX_SERIES else OTHER, operation, OTHER, OTHER, outcome, status)
        return self.series.setdefault(key, Series())

    def _attempted(self, tried: tuple[Any, ...], count: int) -> None:
        model_id, code = tried
        if tried not in self.attempts and len(self.attempts) >= MAX_SERIES:
            model_id = f"{OTHER}@{OTHER}"
        self.attempts[model_id, code] = self.attempts.get((model_id, code), 0) + count


_INPUT, _OUTPUT = TOKENS.index("input_tokens"), TOKENS.index("output_tokens")
_RARE = tuple((index, name) for index, name in enumerate(TOKENS) if index not in (_INPUT, _OUTPUT))

counts = Counts()
"""This process's."""


# --- What is so at the moment ---------------------------------------------------------------------------------------

_engines: WeakSet[Engine] = WeakSet()
_engines_lock = threading.Lock()


def _after_fork() -> None:
    """What the parent counted, and its engines, are told by the parent."""
    global _engines_lock
    _engines_lock = threading.Lock()
    _engines.clear()
    counts.clear()


os.register_at_fork(after_in_child=_after_fork)


def watch(engine: Engine) -> None:
    """Let the gauges tell of it for as long as it lives."""
    with _engines_lock:
        _engines.add(engine)


def engines() -> list[Engine]:
    """Those of this process that are open."""
    with _engines_lock:
        return [engine for engine in _engines if not engine.closed]


def gauges() -> dict[str, Any]:
    """How this process stands now. Any thread may ask."""
    found = engines()
    states = [state for engine in found for state in engine.breaker.states().values()]
    connections = [engine.pool.connections() for engine in found]
    shared = [engine.counters.is_away for engine in found if hasattr(engine.counters, "is_away")]
    return {
        "targets": {name: states.count(name) for name in ("open", "half-open", "resting")},
        "spool_backlog_bytes": sum(engine.spool.backlog_bytes for engine in found),
        "spool_oldest_s": max((engine.spool.oldest_s for engine in found), default=0.0),
        "spool_full": sum(not engine.spool.has_room for engine in found),
        "snapshot_age_s": store.age_s(),
        "open_streams": sum(len(engine.streaming) for engine in found),
        "connections": {
            "in_use": sum(in_use for in_use, _ in connections),
            "idle": sum(idle for _, idle in connections),
        },
        "redis_up": not any(shared) if shared else None,
    }


def together(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The gauges of several processes as one: sums, and of ages the highest."""
    every = list(told)
    ages = [one["snapshot_age_s"] for one in every if one["snapshot_age_s"] is not None]
    redis = [one["redis_up"] for one in every if one["redis_up"] is not None]
    return {
        "processes": len(every),
        **{name: sum(one[name] for one in every) for name in ("spool_backlog_bytes", "spool_full", "open_streams")},
        **{
            name: {each: sum(one[name][each] for one in every) for each in parts}
            for name, parts in (("targets", ("open", "half-open", "resting")), ("connections", ("in_use", "idle")))
        },
        "spool_oldest_s": max((one["spool_oldest_s"] for one in every), default=0.0),
        "snapshot_age_s": max(ages) if ages else None,
        "redis_up": all(redis) if redis else None,
    }
