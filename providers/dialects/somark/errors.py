"""Answers that are not a success: `{"code": 1107, "message": "…"}`, whatever the status.

Source: https://docs.somark.cn/en/api-reference/errors
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.dialects.bodies import Problem, read_problem
from providers.dialects.failures import Kind, classify_body, make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import AuthenticationFailed, BadRequest, QuotaExceeded, RateLimited, UpstreamError

_CODES: dict[Kind, tuple[str, ...]] = {
    AuthenticationFailed: ("1107",),
    QuotaExceeded: ("1108", "1123"),  # no plan; no pages left in it
    RateLimited: ("1101", "1124"),
    BadRequest: ("1104", "1106", "1111", "1118", "1132"),  # the file: its type, damaged, missing, too large
}


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        problem = read_problem(body)
        if kind := _kind(problem):
            raise make(kind, problem, status=status, retry_after_s=retry_after_s(headers))
    errors.raise_for(status, headers, body)


def in_body(body: bytes) -> UpstreamError:
    """The error in a body whose status is a success."""
    problem = read_problem(body)
    kind = _kind(problem)
    return make(kind, problem, status=200) if kind else classify_body(200, body)


def _kind(problem: Problem) -> Kind | None:
    return next((kind for kind, codes in _CODES.items() if set(codes) & set(problem.codes)), None)
