"""What the Gemini API's errors mean: google.rpc statuses, whose details say more than their texts.

Sources: https://ai.google.dev/gemini-api/docs/troubleshooting, https://ai.google.dev/gemini-api/docs/rate-limits,
https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from providers.dialects.bodies import Problem, loads, read_problem
from providers.dialects.failures import MAX_RETRY_AFTER_S, Kind, classify, classify_body, make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import (
    AuthenticationFailed,
    ContextLengthExceeded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    UpstreamError,
)

_TOO_LONG = re.compile(r"\btoken count\b[^.]{0,80}\bexceeds? the maximum\b", re.I)
_NO_KEY = re.compile(r"\bunregistered callers\b|\bAPI key (?:not found|expired)\b", re.I)
_NO_CREDIT = re.compile(r"\b(?:prepayment|prepaid) credits?\b|\bspend(?:ing)? (?:cap|limit)\b|\benable billing\b", re.I)
_NOT_HERE = re.compile(r"\blocation is not supported\b", re.I)
# https://cloud.google.com/apis/design/errors#handling_errors names the HTTP status of each.
_STATUS = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "cancelled": 499,
    "internal": 500,
    "unknown": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
}
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s", re.A)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        problem = read_problem(body)
        if kind := _kind(problem, body):
            wait = retry_after_s(headers)
            raise make(kind, problem, status=status, retry_after_s=_retry_delay(body) if wait is None else wait)
    errors.raise_for(status, headers, body)


def in_success(data: bytes) -> UpstreamError:
    """The error that came in a stream, or in a body with a success's status."""
    problem = read_problem(data)
    status = next((_STATUS[code] for code in problem.codes if code in _STATUS), None)
    if status is None:
        return classify_body(200, data)
    kind = _kind(problem, data) or type(classify(status, {}, data))
    return make(kind, problem, status=200, retry_after_s=_retry_delay(data))


def _kind(problem: Problem, body: bytes) -> Kind | None:
    """The class where the general rules would miss it."""
    if not problem.structured:
        return None
    said = problem.message
    if "resource_exhausted" in problem.codes:
        daily = any("PerDay" in str(violation.get("quotaId")) for violation in _violations(body))
        return QuotaExceeded if daily or _NO_CREDIT.search(said) else RateLimited
    if "invalid_argument" in problem.codes and _TOO_LONG.search(said):
        return ContextLengthExceeded
    if {"permission_denied", "invalid_argument"} & set(problem.codes) and _NO_KEY.search(said):
        return AuthenticationFailed
    if "failed_precondition" in problem.codes:
        if _NOT_HERE.search(said):
            return PermissionDenied
        return QuotaExceeded if _NO_CREDIT.search(said) else None
    return None


def _violations(body: bytes) -> Iterator[dict[str, Any]]:
    for detail in _details(body):
        found = detail.get("violations")
        yield from (violation for violation in found if isinstance(violation, dict)) if isinstance(found, list) else ()


def _retry_delay(body: bytes) -> float | None:
    """Seconds that a google.rpc.RetryInfo asks to wait, such as "37s"."""
    for detail in _details(body):
        if isinstance(delay := detail.get("retryDelay"), str) and (match := _SECONDS.fullmatch(delay)):
            return min(float(match.group(1)), MAX_RETRY_AFTER_S)
    return None


def _details(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        data = loads(body)
    except ValueError:
        return
    data = data[0] if isinstance(data, list) and data else data
    error = data.get("error") if isinstance(data, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    yield from (detail for detail in details if isinstance(detail, dict)) if isinstance(details, list) else ()
