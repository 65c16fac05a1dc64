"""Answers that are not a success: `{"error": "…"}`. Source: https://docs.ollama.com/api/errors"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects.bodies import media_type, read_problem, unexpected
from providers.dialects.failures import classify, make, retry_after_s
from providers.errors import Overloaded, Unsupported

_CANNOT = re.compile(r"\bdoes not support\b", re.I)
_LOADING = re.compile(r"\b(?:server busy|requires more system memory|still loading|loading model)\b", re.I)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if 200 <= status < 300:
        if media_type(headers) in ("text/html", "text/plain"):
            raise unexpected("The answer is not one of Ollama's API.", headers, body)
        return
    problem = read_problem(body)
    if status in (400, 422, 500) and problem.structured:
        if _CANNOT.search(problem.message):
            raise make(Unsupported, problem, status=status, hint="Choose a model that has this capability.")
        if _LOADING.search(problem.message):
            raise make(Overloaded, problem, status=status, retry_after_s=retry_after_s(headers))
    raise classify(status, headers, body)
