"""What Anthropic's errors mean, where its words differ from everybody's.

Source: https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects.bodies import Problem, read_problem
from providers.dialects.failures import Kind, classify, classify_body, make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import ModelNotFound, PermissionDenied, QuotaExceeded, UpstreamError

_NO_CREDIT = re.compile(
    r"\bcredit balance is too low\b|\bAPI usage limits?\b|\bspend(?:ing)? limit\b|\bbilling\b|\bprepaid credits?\b",
    re.I,
)
_DISABLED = re.compile(r"\borganization\b[^.]{0,40}\b(?:disabled|on hold)\b", re.I)


# The status that each type of error has when it does not come inside a success.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        problem = read_problem(body)
        if kind := _kind(problem):
            raise make(kind, problem, status=status, retry_after_s=retry_after_s(headers))
    errors.raise_for(status, headers, body)


def in_success(data: bytes) -> UpstreamError:
    """The error that came in a stream, or in a body with a success's status."""
    problem = read_problem(data)
    status = next((_STATUS[code] for code in problem.codes if code in _STATUS), None)
    if status is None:
        return classify_body(200, data)
    return make(_kind(problem) or type(classify(status, {}, data)), problem, status=200)


def _kind(problem: Problem) -> Kind | None:
    """The class where the general rules would miss it."""
    if not problem.structured:
        return None
    if "billing_error" in problem.codes:
        return QuotaExceeded
    if "not_found_error" in problem.codes and re.match(r"\s*model\b", problem.message, re.I):
        return ModelNotFound
    if "invalid_request_error" in problem.codes and _NO_CREDIT.search(problem.message):
        return QuotaExceeded
    if "invalid_request_error" in problem.codes and _DISABLED.search(problem.message):
        return PermissionDenied
    return None
