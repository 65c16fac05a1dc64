"""Answers that are not a success: `{"code": "InvalidApiKey", "message": "…", "request_id": "…"}`.

Source: https://www.alibabacloud.com/help/en/model-studio/error-code
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.bodies import Problem, read_problem, unexpected
from providers.dialects.failures import classify, classify_body, make
from providers.dialects.openai import errors
from providers.errors import (
    ContentFiltered,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    TimedOut,
    UpstreamError,
)

# What is DashScope's alone; the codes are lower-case here.
_CODES: dict[str, type[UpstreamError]] = {
    "accessdenied.unpurchased": PermissionDenied,
    "allocationquota.freetieronly": QuotaExceeded,
    "commoditynotpurchased": QuotaExceeded,
    "internalerror.timeout": TimedOut,
    "invalidparameter.datainspection": ContentFiltered,
    "model.unpurchased": PermissionDenied,
    "modelservingerror": Overloaded,
    "modelunavailable": Overloaded,
    "postpaidbilloverdue": QuotaExceeded,
    "prepaidbilloverdue": QuotaExceeded,
    "requesttimeout": TimedOut,
    "responsetimeout": TimedOut,
    "unsupportedmodel": ModelNotFound,
    "workspace.accessdenied": PermissionDenied,
}


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if status >= 300:
        problem = read_problem(body)
        if status >= 400 and (kind := _kind(problem)):
            raise make(kind, problem, status=status, retry_after_s=classify(status, headers, body).retry_after_s)
    errors.raise_for(status, headers, body)


def output(data: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> Mapping[str, Any]:
    """The `output` of a successful answer; raises the error that came in its place."""
    found = data.get("output")
    if isinstance(found, dict):
        return found
    if data.get("code"):
        raise in_body(body)
    raise unexpected("The answer holds no output.", headers, body)


def in_body(body: bytes) -> UpstreamError:
    """The error in a body whose status is a success."""
    problem = read_problem(body)
    kind = _kind(problem)
    return make(kind, problem, status=200) if kind else classify_body(200, body)


def _kind(problem: Problem) -> type[UpstreamError] | None:
    return next((_CODES[code] for code in problem.codes if code in _CODES), None)
