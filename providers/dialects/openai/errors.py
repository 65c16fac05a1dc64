"""Answers that are not a success. Source: https://platform.openai.com/docs/guides/error-codes"""

from __future__ import annotations

from collections.abc import Mapping

from providers.dialects.bodies import media_type, unexpected
from providers.dialects.failures import classify


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        raise classify(status, headers, body)
    if media_type(headers) == "text/html":
        raise unexpected("A web page came instead of an answer of the API.", headers, body)
