"""Answers that are not a success: `{"error": "…", "error_type": "…"}`.

Source: https://huggingface.github.io/text-embeddings-inference/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects.bodies import read_problem
from providers.dialects.failures import make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import (
    BadRequest,
    ContextLengthExceeded,
    Overloaded,
    ServerFailed,
    Unsupported,
    UpstreamError,
)

_TOO_LONG = re.compile(r"must have less than \d+ tokens|\bmax_input_length\b", re.I)
_OTHER_KIND = re.compile(r"\bmodel is not an? .{0,40}\bmodel\b|\bis not supported\b", re.I)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        problem = read_problem(body)
        if problem.structured and (kind := _kind(status, problem.message)):
            raise make(kind, problem, status=status, retry_after_s=retry_after_s(headers))
    errors.raise_for(status, headers, body)


def _kind(status: int, message: str) -> type[UpstreamError] | None:
    """What these statuses mean here; 424 is a model that failed, or one of another kind."""
    if status in (413, 422) and _TOO_LONG.search(message):
        return ContextLengthExceeded
    if status == 413:
        return BadRequest
    if status == 424:
        return Unsupported if _OTHER_KIND.search(message) else ServerFailed
    return Overloaded if status == 429 else None
