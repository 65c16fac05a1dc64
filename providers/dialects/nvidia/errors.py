"""Answers that are not a success: `{"status": 404, "title": "…", "detail": "…"}`, as RFC 7807 has it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects.bodies import read_problem
from providers.dialects.failures import make
from providers.dialects.openai import errors
from providers.errors import ModelNotFound

# Each hosted model is a "function" of NVIDIA's cloud.
_NO_FUNCTION = re.compile(r"\bfunction\b.{0,200}\bnot found\b", re.I | re.S)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if status == 404:
        problem = read_problem(body)
        if problem.structured and _NO_FUNCTION.search(problem.message):
            raise make(ModelNotFound, problem, status=status)
    errors.raise_for(status, headers, body)
