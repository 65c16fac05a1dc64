"""Counting what became of calls, in one process and over several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.ids import new_id
from gateway import metrics
from gateway.metrics import DURATION_MS, MAX_SERIES, OTHER, Counts
from gateway.published import Published
from usage.records import TOKENS, CallRecord, Usage

CHILD = """
import django, os, sys
django.setup()
from pathlib import Path
from gateway.metrics import Counts
from gateway.published import Published
counts = Counts()
counts.refuse("budget")
published = Published(Path(sys.argv[1]), counts)
published.publish()
print("published", flush=True)
sys.stdin.readline()
counts.refuse("budget")
published.publish()
print("again", flush=True)
sys.stdin.readline()
os._exit(9)
"""


def record(**changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "id": new_id(), "tenant_id": "t1", "token_id": "", "tenant_llm_id": 1, "factory": "Acme", "llm_name": "large",
        "model": "large", "route": "", "operation": "chat", "stream": False, "started_at": time.time(),
        "latency_ms": 120, "first_token_ms": None, "outcome": "complete", "status": 200, "error_code": "",
        "attempts": (("large@Acme", "ok", 110),), "usage": Usage(), "cost": None, "request_id": "r",
    }  # fmt: skip
    return CallRecord(**{**values, **changes})


def test_a_call_is_counted_under_its_labels() -> None:
    counts = Counts()
    used = Usage(input_tokens=10, cached_input_tokens=3, output_tokens=7)
    counts.observe(record(usage=used, cost=Decimal("0.25"), first_token_ms=40))
    counts.observe(
        record(outcome="error", status=502, attempts=(("a@b@Acme", "timed_out", 1), ("large@Acme", "ok", 1)))
    )
    good = counts.series["", "chat", "Acme", "large", "complete", 200]
    assert (good.calls, good.cost, good.duration_ms, good.first_ms) == (1, Decimal("0.25"), 120, 40)
    assert dict(zip(TOKENS, good.tokens, strict=True)) == {
        **dict.fromkeys(TOKENS, 0), "input_tokens": 10, "cached_input_tokens": 3, "output_tokens": 7,
    }  # fmt: skip
    assert counts.series["", "chat", "Acme", "large", "error", 502].calls == 1
    assert counts.attempts == {("large@Acme", "ok"): 2, ("a@b@Acme", "timed_out"): 1}


def test_tenants_are_told_apart_only_if_asked_for() -> None:
    plain, apart = Counts(), Counts(by_tenant=True)
    for tenant in ("t1", "t2"):
        plain.observe(record(tenant_id=tenant))
        apart.observe(record(tenant_id=tenant))
    assert [key[0] for key in plain.series] == [""]
    assert sorted(key[0] for key in apart.series) == ["t1", "t2"]


def test_models_without_end_do_not_take_memory_without_end() -> None:
    counts = Counts(by_tenant=True)
    for number in range(3 * MAX_SERIES):
        name = f"model-{number}"
        counts.observe(record(tenant_id=f"t{number}", llm_name=name, attempts=((f"{name}@Acme", "ok", 1),)))
    assert len(counts.series) <= 2 * MAX_SERIES + 1
    assert len(counts.attempts) <= MAX_SERIES + 1
    assert sum(one.calls for one in counts.series.values()) == sum(counts.attempts.values()) == 3 * MAX_SERIES
    assert counts.attempts[f"{OTHER}@{OTHER}", "ok"] == 2 * MAX_SERIES


@given(st.lists(st.integers(0, 10**6), max_size=20), st.lists(st.integers(0, 10**6), max_size=20))
def test_what_several_processes_counted_adds_up(mine: list[int], others: list[int]) -> None:
    one, two, both, added = Counts(), Counts(), Counts(), Counts()
    for latency_ms in mine:
        one.observe(record(latency_ms=latency_ms, first_token_ms=latency_ms, cost=Decimal("0.1")))
    for latency_ms in others:
        two.observe(record(latency_ms=latency_ms, first_token_ms=latency_ms, cost=Decimal("0.1")))
    for latency_ms in [*mine, *others]:
        both.observe(record(latency_ms=latency_ms, first_token_ms=latency_ms, cost=Decimal("0.1")))
    for counts in (one, two):
        added.add(json.loads(json.dumps(counts.as_data())))
    assert added.as_data() == both.as_data()
    for series in added.series.values():
        assert sum(series.durations) == sum(series.firsts) == series.calls
        assert series.durations[-1] == sum(latency_ms > DURATION_MS[-1] for latency_ms in [*mine, *others])


def test_a_call_costs_little_to_count() -> None:
    counts, one, best_s = Counts(), record(usage=Usage(input_tokens=1, output_tokens=1)), float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(500):
            counts.observe(one)
        best_s = min(best_s, time.perf_counter() - began)
    assert best_s / 500 < 100e-6  # some 3 µs on an idle machine: this is to notice a lock that waits, or a file


def test_what_processes_counted_stays_after_they_are_killed(tmp_path: Path) -> None:
    own = Counts()
    own.refuse("requests")
    published = Published(tmp_path, own)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    try:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "published\n"
        counts, gauges = published.collect()
        assert (counts.refused, gauges["processes"]) == ({"requests": 1, "budget": 1}, 2)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "again\n"
        assert published.collect()[0].refused == {"requests": 1, "budget": 2}
    finally:
        child.communicate("\n", timeout=60)
    for _ in range(2):  # moved once, and not again
        counts, gauges = published.collect()
        assert (counts.refused, gauges["processes"]) == ({"requests": 1, "budget": 2}, 1)
    assert sorted(path.name for path in tmp_path.iterdir() if str(child.pid) in path.name) == []
    published.leave()


def test_a_file_that_is_no_use_spoils_nothing(tmp_path: Path) -> None:
    own = Counts()
    own.refuse("tokens")
    published = Published(tmp_path, own)
    (tmp_path / "1-dead.lock").touch()
    (tmp_path / "1-dead.json").write_text('{"counts": {"series": [[[')
    (tmp_path / "ended.json").write_text("not json")
    counts, _ = published.collect()
    assert counts.refused == {"tokens": 1}
    assert not (tmp_path / "1-dead.json").exists()
    published.leave()


def test_gauges_of_several_processes_make_one() -> None:
    quiet = metrics.gauges()
    busy = {**quiet, "open_streams": 3, "snapshot_age_s": 2.5, "redis_up": False, "spool_oldest_s": 4.0}
    together = metrics.together([quiet, busy, {**busy, "redis_up": True, "snapshot_age_s": 0.5}])
    assert together["open_streams"] == 6 + quiet["open_streams"]
    assert (together["snapshot_age_s"], together["redis_up"], together["spool_oldest_s"]) == (2.5, False, 4.0)
