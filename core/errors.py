"""The one tree of errors that our own code raises at its callers.

    AppError
    ├── InvalidInput      400  the request cannot be understood or breaks a rule; `fields` says where
    ├── Unauthenticated   401  nobody, or nobody we know, is asking
    ├── Forbidden         403  known, but the role or scope is not enough
    ├── NotFound          404  does not exist, or is not the caller's to see
    ├── Conflict          409  somebody else changed it first, or it exists already
    ├── TooManyRequests   429  slow down; `retry_after_s` says for how long
    ├── StillRunning      202  the work goes on in the background; `job_id` says where to look
    └── Unavailable       503  a part that we depend on does not answer

What an *upstream* does to us has its own tree: `providers.errors`.
Doors (REST, the llm_app endpoints, the admin) render these; services only raise them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AppError(Exception):
    """Base of the tree.

    `message` says what went wrong, `hint` what a person can do next, `code` is a stable machine-readable name,
    `fields` maps an input's name to what is wrong with it. None of them ever carries a secret.
    """

    status = 500
    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.fields: dict[str, list[str]] = {name: list(texts) for name, texts in (fields or {}).items()}

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidInput(AppError):
    status = 400
    default_code = "invalid_input"


class Unauthenticated(AppError):
    status = 401
    default_code = "unauthenticated"


class Forbidden(AppError):
    status = 403
    default_code = "forbidden"


class NotFound(AppError):
    status = 404
    default_code = "not_found"


class Conflict(AppError):
    status = 409
    default_code = "conflict"


class TooManyRequests(AppError):
    status = 429
    default_code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StillRunning(AppError):
    status = 202
    default_code = "still_running"

    def __init__(self, message: str, *, job_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id


class Unavailable(AppError):
    status = 503
    default_code = "unavailable"
