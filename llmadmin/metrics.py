"""GET /metrics, for Prometheus: what all processes of this machine counted, and how they stand.

Who has `METRICS_TOKEN` may read it. Without one it answers this machine alone, and only where nothing suggests that a
proxy might speak for others: they would come from this machine, too.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.utils.crypto import constant_time_compare
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from gateway import published
from gateway.asgi import Receive, Scope, Send, send_whole
from gateway.metrics import DURATION_MS, FIRST_TOKEN_MS, Counts
from llmadmin import health
from llmadmin.checks import is_local
from usage.records import TOKENS

logger = structlog.get_logger(__name__)

PATH = "/metrics"
_PROXIED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """One request for PATH. Whoever may not see it is told 404, or 401 where a token would help."""
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    if scope["method"] not in ("GET", "HEAD"):
        await _say(send, 405, "Only GET.\n", allow="GET, HEAD")
    elif settings.METRICS_TOKEN and not _has_token(headers):
        await _say(
            send, 401, "Send METRICS_TOKEN as: Authorization: Bearer <token>.\n", **{"www-authenticate": "Bearer"}
        )
    elif not settings.METRICS_TOKEN and not _is_here(scope, headers):
        await _say(send, 404, "Set METRICS_TOKEN to read metrics from elsewhere.\n")
    else:
        try:
            body = await asyncio.to_thread(render)
        except OSError as error:
            logger.error("metrics.unavailable", error=error.strerror)
            await _say(send, 503, "The folder of metrics cannot be used; the log says why.\n")
            return
        await send_whole(send, 200, b"" if scope["method"] == "HEAD" else body, CONTENT_TYPE_PLAIN_0_0_4, {})


def render() -> bytes:
    """The page; raises OSError."""
    counts, gauges = published.own().collect()
    return generate_latest(_Page(counts, gauges, health.queue_ages()))


class _Page(Collector):
    def __init__(self, counts: Counts, gauges: Mapping[str, Any], queue_ages: Mapping[str, float | None]) -> None:
        self._counts, self._gauges, self._queue_ages = counts, gauges, queue_ages

    def collect(self) -> Iterator[Metric]:
        yield from _calls(self._counts)
        yield from _others(self._counts)
        yield from _standing(self._gauges)
        ages = {queue: age_s for queue, age_s in self._queue_ages.items() if age_s is not None}
        text = "Since when no worker that serves the queue has been seen; absent if none ever was."
        yield _gauge_by("llmadmin_worker_silent_seconds", text, "queue", ages)


def _calls(counts: Counts) -> Iterator[Metric]:
    whose = ["tenant"] if any(key[0] for key in counts.series) else []
    what = [*whose, "operation", "factory", "model"]
    requests = CounterMetricFamily("llmadmin_requests", "Calls that ended.", labels=[*what, "outcome", "status"])
    duration = HistogramMetricFamily("llmadmin_request_duration_seconds", "Of whole calls.", labels=[*what, "outcome"])
    first = HistogramMetricFamily("llmadmin_time_to_first_token_seconds", "Of streams.", labels=what)
    tokens = CounterMetricFamily(
        "llmadmin_tokens", "Tokens used, by buckets that do not overlap.", labels=[*what, "type"]
    )
    cost = CounterMetricFamily("llmadmin_cost_usd", "What calls with a known price cost.", labels=what)
    by_outcome, by_model = Counts(), Counts()
    for (tenant, operation, factory, model, outcome, status), one in counts.series.items():
        labels = [*([tenant] if whose else []), operation, factory, model]
        requests.add_metric([*labels, outcome, str(status)], one.calls)
        by_outcome.sum((tenant, operation, factory, model, outcome, 0), one)
        by_model.sum((tenant, operation, factory, model, "", 0), one)
    for (tenant, operation, factory, model, outcome, _), one in by_outcome.series.items():
        labels = [*([tenant] if whose else []), operation, factory, model]
        duration.add_metric([*labels, outcome], _buckets(DURATION_MS, one.durations), one.duration_ms / 1000)
    for (tenant, operation, factory, model, _, _), one in by_model.series.items():
        labels = [*([tenant] if whose else []), operation, factory, model]
        if any(one.firsts):
            first.add_metric(labels, _buckets(FIRST_TOKEN_MS, one.firsts), one.first_ms / 1000)
        for name, count in zip(TOKENS, one.tokens, strict=True):
            if count:
                tokens.add_metric([*labels, name.removesuffix("_tokens")], count)
        cost.add_metric(labels, float(one.cost))
    yield from (requests, duration, first, tokens, cost)


def _others(counts: Counts) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "llmadmin_attempts", "Tries at a target; code is ok or what went wrong.", labels=["factory", "model", "code"]
    )
    for (model_id, code), count in counts.attempts.items():
        model, _, factory = model_id.rpartition("@")
        attempts.add_metric([factory, model, code], count)
    yield attempts
    yield _by("llmadmin_admissions_refused", "Calls that limits or budgets did not allow.", "kind", counts.refused)
    yield _by("llmadmin_traces", "Traces for Langfuse, by what became of them.", "outcome", counts.traces)


def _standing(gauges: Mapping[str, Any]) -> Iterator[Metric]:
    for name, text, key in (
        ("llmadmin_processes", "Processes that make calls or answer this.", "processes"),
        ("llmadmin_open_streams", "Streams that are under way.", "open_streams"),
        ("llmadmin_spool_backlog_bytes", "Usage records that wait for the database.", "spool_backlog_bytes"),
        ("llmadmin_spool_oldest_seconds", "For how long the oldest of them has waited.", "spool_oldest_s"),
        ("llmadmin_spool_full", "Processes that refuse calls since no more may wait.", "spool_full"),
        ("llmadmin_snapshot_age_seconds", "Since when changes have not been looked for, at worst.", "snapshot_age_s"),
        ("llmadmin_limits_redis_up", "1 if limits are counted in Redis, 0 if a process cannot reach it.", "redis_up"),
    ):
        if gauges[key] is not None:
            yield GaugeMetricFamily(name, text, float(gauges[key]))
    for name, text, label, key in (
        ("llmadmin_breaker_targets", "Targets that are being left alone or tried again.", "state", "targets"),
        ("llmadmin_upstream_connections", "Connections to upstreams.", "state", "connections"),
    ):
        yield _gauge_by(name, text, label, gauges[key])


def _gauge_by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _by(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _buckets(bounds_ms: Sequence[int], counts: Sequence[int]) -> list[tuple[str, float]]:
    """As Prometheus wants them: each with all that is below it."""
    total, found = 0, []
    for bound, count in zip([*(str(bound / 1000) for bound in bounds_ms), "+Inf"], counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def _has_token(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return scheme.lower() == "bearer" and constant_time_compare(token.strip(), settings.METRICS_TOKEN)


def _is_here(scope: Scope, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    named = dict(headers)
    client = scope.get("client")
    host = urlsplit("//" + named.get(b"host", b"").decode("latin-1")).hostname or ""
    return (
        client is not None
        and is_local(client[0])
        and is_local(host)  # else a page in a browser here could have its own name lead to us
        and host != ""
        and not settings.TRUSTED_PROXIES
        and is_local(urlsplit(settings.PUBLIC_URL).hostname or "")
        and not any(name in named for name in _PROXIED)
    )


async def _say(send: Send, status: int, text: str, **headers: str) -> None:
    await send_whole(send, status, text.encode(), "text/plain; charset=utf-8", headers)
