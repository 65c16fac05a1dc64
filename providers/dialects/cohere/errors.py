"""Answers that are not a success. Source: https://docs.cohere.com/reference/errors"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects.bodies import loads, read_problem
from providers.dialects.failures import make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import AuthenticationFailed, ModelNotFound, QuotaExceeded, TimedOut, UpstreamError

_MONTHLY = re.compile(r"calls? ?(?:/|per|a) ?month|monthly|billing|spend(?:ing)? limit", re.I)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success. An error's body is `{"message": …}`."""
    if not 200 <= status < 300 and (kind := _kind(status, body)):
        raise make(kind, read_problem(body), status=status, retry_after_s=retry_after_s(headers))
    errors.raise_for(status, headers, body)


def _kind(status: int, body: bytes) -> type[UpstreamError] | None:
    """What Cohere means by statuses that others use otherwise, or not at all."""
    if status == 498:  # an invalid or blocked token
        return AuthenticationFailed
    if status == 499:  # the request was cancelled
        return TimedOut
    message = _message(body)
    if status == 404 and "model" in message.lower():
        return ModelNotFound
    if status == 429 and _MONTHLY.search(message):
        return QuotaExceeded
    return None


def _message(body: bytes) -> str:
    try:
        data = loads(body)
    except ValueError:
        return ""
    message = data.get("message") if isinstance(data, dict) else None
    return message if isinstance(message, str) else ""
