"""What an upstream can do to us: one closed tree.

    UpstreamError                 seed code              status  retry  fallback  verdict
    ├── AuthenticationFailed      ERROR_AUTHENTICATION      401    -       yes    bad_key
    ├── PermissionDenied          ERROR_AUTHENTICATION      403    -       yes    no_permission
    ├── RateLimited               ERROR_RATE_LIMIT          429    yes     yes    rate_limited
    ├── QuotaExceeded             ERROR_QUOTA               429    -       yes    no_quota
    ├── ContextLengthExceeded     ERROR_INVALID_REQUEST     400    -       yes    unsupported
    ├── ContentFiltered           ERROR_CONTENT_FILTER      400    -       -      bad_reply
    ├── ModelNotFound             ERROR_MODEL               404    -       yes    no_such_model
    ├── BadRequest                ERROR_INVALID_REQUEST     400    -       -      unsupported
    ├── Overloaded                ERROR_SERVER              503    yes     yes    unreachable
    ├── TimedOut                  ERROR_TIMEOUT             504    -       yes    timed_out
    ├── Unreachable               ERROR_CONNECTION          502    yes     yes    unreachable
    ├── AddressBlocked            ERROR_CONNECTION          502    -       yes    blocked_address
    ├── WrongURL                  ERROR_CONNECTION          502    -       yes    wrong_url
    ├── BadReply                  ERROR_SERVER              502    -       yes    bad_reply
    ├── Unsupported               ERROR_INVALID_REQUEST     400    -       yes    unsupported
    └── GenericUpstreamError      ERROR_GENERIC             502    -       yes    bad_reply
        └── ServerFailed          ERROR_SERVER              502    yes     yes    bad_reply

`retry`: the same target may be tried again. `fallback`: another target may succeed. `status` is what our own callers
get. Neither message nor hint nor detail ever carries a key, a header or a URL with a query.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Self

from core.redact import redact


class Verdict(StrEnum):
    """What a probe found out about one credential, model and type."""

    OK = "ok"
    BAD_KEY = "bad_key"
    NO_PERMISSION = "no_permission"
    NO_QUOTA = "no_quota"
    RATE_LIMITED = "rate_limited"
    NO_SUCH_MODEL = "no_such_model"
    WRONG_URL = "wrong_url"
    UNREACHABLE = "unreachable"
    BLOCKED_ADDRESS = "blocked_address"
    TIMED_OUT = "timed_out"
    BAD_REPLY = "bad_reply"
    UNSUPPORTED = "unsupported"
    UNTESTED = "untested"


class UpstreamError(Exception):
    """Base of the tree.

    `step` says how far the call came: build, sign, dns, connect, tls, send, headers, body, status (the upstream
    answered with an error) or parse. `upstream_status` and `upstream_code` are the upstream's own, `detail` its words.
    `param` is the parameter that is to blame, where one is named.
    """

    code: ClassVar[str] = "upstream_error"
    seed_code: ClassVar[str] = "ERROR_GENERIC"
    http_status: ClassVar[int] = 502
    retry: ClassVar[bool] = False
    fallback: ClassVar[bool] = True
    verdict: ClassVar[Verdict] = Verdict.BAD_REPLY
    default_message: ClassVar[str] = "The upstream failed."
    default_hint: ClassVar[str] = "Try again later; if it stays so, look at the vendor's status page."

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        step: str = "",
        upstream_status: int | None = None,
        upstream_code: str = "",
        param: str = "",
        detail: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.hint = hint or self.default_hint
        self.step = step
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.param = param
        self.detail = detail
        self.retry_after_s = retry_after_s

    def without(self, secrets: Iterable[str]) -> Self:
        """This error, with the secrets and whatever else looks like a key taken out of its texts."""
        gone = frozenset(secrets)
        for name in ("message", "hint", "detail", "upstream_code", "param"):
            setattr(self, name, redact(getattr(self, name), secrets=gone))
        self.args = (self.message,)
        return self

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class AuthenticationFailed(UpstreamError):
    code, seed_code, http_status = "authentication_failed", "ERROR_AUTHENTICATION", 401
    verdict = Verdict.BAD_KEY
    default_message = "The upstream does not accept this key."
    default_hint = "Check that the key is whole, still valid, and belongs to this vendor and base URL."


class PermissionDenied(UpstreamError):
    code, seed_code, http_status = "permission_denied", "ERROR_AUTHENTICATION", 403
    verdict = Verdict.NO_PERMISSION
    default_message = "The key is not allowed to do this."
    default_hint = "In the vendor's console, give the key access to this model, project or region."


class RateLimited(UpstreamError):
    code, seed_code, http_status = "rate_limited", "ERROR_RATE_LIMIT", 429
    retry = True
    verdict = Verdict.RATE_LIMITED
    default_message = "The upstream limits how often it may be called."
    default_hint = "The key works; wait a little, or ask the vendor for a higher limit."


class QuotaExceeded(UpstreamError):
    code, seed_code, http_status = "quota_exceeded", "ERROR_QUOTA", 429
    verdict = Verdict.NO_QUOTA
    default_message = "The account behind this key has no credit or quota left."
    default_hint = "Check the plan and the billing in the vendor's console."


class ContextLengthExceeded(UpstreamError):
    code, seed_code, http_status = "context_length_exceeded", "ERROR_INVALID_REQUEST", 400
    verdict = Verdict.UNSUPPORTED
    default_message = "The input is longer than the model's context."
    default_hint = "Send less text, or use a model with a larger context."


class ContentFiltered(UpstreamError):
    code, seed_code, http_status = "content_filtered", "ERROR_CONTENT_FILTER", 400
    fallback = False
    verdict = Verdict.BAD_REPLY
    default_message = "The upstream's content filter refused the request."
    default_hint = "Rephrase the request; the key and the model are fine."


class ModelNotFound(UpstreamError):
    code, seed_code, http_status = "model_not_found", "ERROR_MODEL", 404
    verdict = Verdict.NO_SUCH_MODEL
    default_message = "The upstream does not know this model."
    default_hint = "Check the model's name, and that the key has access to it."


class BadRequest(UpstreamError):
    code, seed_code, http_status = "bad_request", "ERROR_INVALID_REQUEST", 400
    fallback = False
    verdict = Verdict.UNSUPPORTED
    default_message = "The upstream refuses the request as invalid."
    default_hint = "Check that the model is of this type and takes these parameters."


class Overloaded(UpstreamError):
    code, seed_code, http_status = "overloaded", "ERROR_SERVER", 503
    retry = True
    verdict = Verdict.UNREACHABLE
    default_message = "The upstream is overloaded or not ready."
    default_hint = "Try again in a minute; a local server may still be loading the model."


class TimedOut(UpstreamError):
    code, seed_code, http_status = "timed_out", "ERROR_TIMEOUT", 504
    verdict = Verdict.TIMED_OUT
    default_message = "The upstream did not answer in time."
    default_hint = "Try again, or use a faster model; a local server may still be loading it."


class Unreachable(UpstreamError):
    code, seed_code, http_status = "unreachable", "ERROR_CONNECTION", 502
    retry = True
    verdict = Verdict.UNREACHABLE
    default_message = "The upstream cannot be reached."
    default_hint = "Check the base URL, and that the server is running."


class AddressBlocked(UpstreamError):
    code, seed_code, http_status = "address_blocked", "ERROR_CONNECTION", 502
    verdict = Verdict.BLOCKED_ADDRESS
    default_message = "The base URL leads to an address that may not be called; nothing was sent."
    default_hint = "Use a public address, or ask staff to approve this network for the factory."


class WrongURL(UpstreamError):
    code, seed_code, http_status = "wrong_url", "ERROR_CONNECTION", 502
    verdict = Verdict.WRONG_URL
    default_message = "The upstream has no such path."
    default_hint = "Check the base URL: it usually ends in /v1, without the path of a single call."


class BadReply(UpstreamError):
    code, seed_code, http_status = "bad_reply", "ERROR_SERVER", 502
    verdict = Verdict.BAD_REPLY
    default_message = "The upstream's answer cannot be understood."
    default_hint = "Check that the base URL is that of the API, not of a web page or another service."


class Unsupported(UpstreamError):
    code, seed_code, http_status = "unsupported", "ERROR_INVALID_REQUEST", 400
    verdict = Verdict.UNSUPPORTED
    default_message = "This kind of call is not supported here."
    default_hint = "Choose a model type that the factory's wire format has."


class GenericUpstreamError(UpstreamError):
    code = "upstream_error"


class ServerFailed(GenericUpstreamError):
    """A 5xx that says nothing more: worth another try."""

    code, seed_code = "server_failed", "ERROR_SERVER"
    retry = True
    default_message = "The upstream failed inside."
