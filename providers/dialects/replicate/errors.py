"""Answers that are not a success: `{"title": "…", "detail": "…", "status": 422}`.

Sources: https://replicate.com/docs/reference/http and https://replicate.com/docs/reference/error-codes
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from providers.dialects.bodies import read_problem, words
from providers.dialects.failures import classify_body, make
from providers.dialects.openai import errors
from providers.errors import ContentFiltered, GenericUpstreamError, ModelNotFound, ServerFailed, UpstreamError

_NO_VERSION = re.compile(r"\bversion does not exist\b|\brequested resource could not be found\b", re.I)
_FILTERED = re.compile(r"\bE005\b|\bflagged as sensitive\b|\bNSFW\b", re.I)
_PASSING = re.compile(r"\bPrediction interrupted\b|\bplease retry\b|\bout of memory\b|\bE1001\b|\bE8765\b", re.I)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if status in (404, 422):
        problem = read_problem(body)
        if problem.structured and _NO_VERSION.search(problem.message):
            raise make(ModelNotFound, problem, status=status)
    errors.raise_for(status, headers, body)


def of_failed(message: str) -> UpstreamError:
    """The error of a prediction that failed, of which there are only words."""
    body = orjson.dumps({"error": {"message": words(message, 300)}})
    problem = read_problem(body)
    if _FILTERED.search(message):
        return make(ContentFiltered, problem, status=200)
    if _PASSING.search(message):
        return make(ServerFailed, problem, status=200)
    found = classify_body(200, body)
    return found if type(found) is not GenericUpstreamError else make(GenericUpstreamError, problem, status=200)
