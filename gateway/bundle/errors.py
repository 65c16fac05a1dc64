"""What the Python door raises: the same failures as over HTTP, as errors of the two trees (`core.errors` for what is
ours, `providers.errors` for what an upstream did). `code` is the one that the HTTP door would have answered with.
"""

from __future__ import annotations

from core.errors import (
    AppError,
    Forbidden,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from gateway.errors import GatewayError
from providers.errors import UpstreamError

_BY_STATUS: dict[int, type[AppError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    503: Unavailable,
}
_SEED_CODES = {
    400: "ERROR_INVALID_REQUEST",
    401: "ERROR_AUTHENTICATION",
    403: "ERROR_AUTHENTICATION",
    404: "ERROR_MODEL",
    429: "ERROR_RATE_LIMIT",
    503: "ERROR_SERVER",
}


class NotAuthorized(NotFound, LookupError):
    """The tenant has no such model, or there is no such tenant."""

    default_code = "model_not_found"


def of_gateway(error: GatewayError) -> AppError | UpstreamError:
    """What to raise in its place."""
    if error.upstream is not None:
        return error.upstream
    code = error.code or ""
    if error.status == 429:
        told = TooManyRequests(error.message, retry_after_s=int(error.headers.get("retry-after", 1)))
        told.code = code or told.code
        return told
    if code == NotAuthorized.default_code:
        return NotAuthorized(error.message)
    return _BY_STATUS.get(error.status, AppError)(error.message, code=code)


def as_text(error: AppError | UpstreamError) -> str:
    """The failure as RAGFlow's callers know it: a text in the place of an answer."""
    if isinstance(error, UpstreamError):
        code = error.seed_code
    else:
        code = "ERROR_QUOTA" if error.code == "insufficient_quota" else _SEED_CODES.get(error.status, "ERROR_GENERIC")
    return f"**ERROR**: {code} - {error}"
