"""From an answer that is not a success to one class of the tree: by status, then the structured code, then text.

Text is looked at only for 400 and 422, where vendors put anything, to tell a missing model from a missing path, and a
restricted key from a wrong one.
Sources: https://platform.openai.com/docs/guides/error-codes, https://ai.google.dev/gemini-api/docs/troubleshooting,
https://docs.mistral.ai/api, https://help.aliyun.com/zh/model-studio/error-code, https://platform.moonshot.cn/docs/api/chat
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from providers.dialects.bodies import Problem, media_type, read_problem, what_came, words
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentFiltered,
    ContextLengthExceeded,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    Unsupported,
    UpstreamError,
    WrongURL,
)

MAX_RETRY_AFTER_S = 3600.0
Kind = type[UpstreamError]

# A code is compared without case, dots, dashes, underscores and spaces.
_CODES: dict[Kind, str] = {
    AuthenticationFailed: """
        invalid_api_key incorrect_api_key api_key_invalid expired_api_key missing_api_key unauthenticated unauthorized
        authentication_error invalid_authentication invalid_authentication_error authentication_fails invalid_token
        token_expired invalid_access_token invalid_iam_token account_deactivated""",
    QuotaExceeded: """
        insufficient_quota quota_exceeded quote_exceeded allocation_quota_exceeded exceeded_current_quota_error
        billing_hard_limit_reached billing_not_active payment_required insufficient_balance insufficient_credit
        insufficient_credits insufficient_funds insufficient_account_balance credits_exhausted arrearage
        account_overdue""",
    ContextLengthExceeded: """
        context_length_exceeded exceed_context_size_error context_window_exceeded prompt_too_long""",
    ContentFiltered: """
        content_filter content_filtered content_policy_violation data_inspection_failed moderation_blocked
        responsible_ai_policy_violation safety_check_failed""",
    ModelNotFound: """
        model_not_found model_not_found_error model_not_exist model_does_not_exist model_not_available model_not_open
        unknown_model invalid_model deployment_not_found invalid_endpoint_or_model_not_found""",
    PermissionDenied: """
        permission_denied permission_denied_error permission_error forbidden access_denied access_denied_error
        model_access_denied model_access_denied_error unsupported_country_region_territory""",
    Overloaded: """
        overloaded overloaded_error engine_overloaded engine_overloaded_error server_overloaded service_unavailable
        unavailable_error""",
    RateLimited: """
        rate_limit rate_limit_exceeded rate_limit_error rate_limit_reached_error too_many_requests throttling
        throttling_rate_quota limit_requests requests_limit_exceeded""",
}


def _plain(code: str) -> str:
    return re.sub(r"[\s._\-]", "", code.lower())


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.I)


_BY_CODE: dict[str, Kind] = {_plain(code): kind for kind, codes in _CODES.items() for code in codes.split()}

_NO_MODEL = _any(
    r"\bmodels?\b[^;]{0,120}\b(?:not found|not exist|doesn't exist|unavailable|not supported|is not a valid model)",
    r"\bmodels?\b[^;]{0,120}\b(?:not|no longer) available",
    r"\b(?:unknown|invalid|unsupported|no such) model\b",
    r"\bmodel_not_found\b",
    r"模型不存在",
)
# A key that is valid but restricted: OpenAI answers 401 for it, with nothing but words to tell it by.
_RESTRICTED = _any(r"\bmissing scopes?\b", r"\binsufficient permissions?\b")
# In this order: a prompt that is too long may speak of parameters, a bad key of a model.
_BY_TEXT: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (
        _any(
            r"\b(?:maximum|max|available|model'?s?) context (?:length|window|size)\b",
            r"\bcontext[_ ](?:length|window|size)\b[^.]{0,60}\b(?:exceed|limit|maximum|larger)",
            r"\bexceed\w*[^.]{0,60}\bcontext\b",
            r"\b(?:prompt|input) is too long\b",
            r"\btoo many (?:input )?tokens\b",
        ),
        ContextLengthExceeded,
    ),
    (
        _any(
            r"\b(?:invalid|incorrect|wrong|missing|expired|no|bad) api[ _-]?key\b",
            r"\bapi[ _-]?key (?:is |was )?(?:not valid|not found|invalid|incorrect|missing|expired|required)",
            r"\binvalid (?:authentication|access token)\b",
        ),
        AuthenticationFailed,
    ),
    (
        _any(
            r"\binsufficient (?:quota|balance|credits?|funds)\b",
            r"\bexceeded your current quota\b",
            r"\bquota (?:is )?exceeded\b",
            r"\bcredit balance is too low\b",
            r"\bout of credits\b",
            r"欠费|余额不足",
        ),
        QuotaExceeded,
    ),
    (_any(r"\brate[ -]limit(?:ed)?\b", r"\btoo many requests\b"), RateLimited),
    (
        _any(
            r"\bcontent (?:filter|policy|management policy)",
            r"\bsafety (?:filter|system|policy)",
            r"\binappropriate content\b",
            r"\bflagged (?:by|as)\b",
        ),
        ContentFiltered,
    ),
    (_NO_MODEL, ModelNotFound),
)


def classify(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """The error that an answer with this status stands for."""
    problem = read_problem(body)
    kind = _kind(status, problem)
    hint = ""
    if 300 <= status < 400:
        hint = _redirect_hint(headers.get("location", ""))
    elif kind is WrongURL:
        hint = f"{what_came(headers, body)} {WrongURL.default_hint}" if not problem.structured else ""
    elif media_type(headers) == "text/html":
        hint = f"{kind.default_hint} A web page came instead of an answer of the API: is a proxy in between?"
    return make(kind, problem, status=status, hint=hint, retry_after_s=retry_after_s(headers))


def classify_body(status: int, body: bytes) -> UpstreamError:
    """The error that a body holds although its status, or its stream, is a success."""
    problem = read_problem(body)
    numbers = [int(code) for code in problem.codes if code.isascii() and code.isdigit() and 400 <= int(code[:9]) <= 599]
    kind = _by_code(problem) or (_kind(numbers[0], problem) if numbers else _by_text(problem)) or GenericUpstreamError
    return make(kind, problem, status=status)


def make(
    kind: Kind, problem: Problem, *, status: int, hint: str = "", retry_after_s: float | None = None
) -> UpstreamError:
    said = f" It says: “{problem.message}”" if problem.message else ""
    what = "The upstream redirects to another address." if 300 <= status < 400 else kind.default_message
    return kind(
        f"{what} (HTTP {status}){said}",
        hint=hint,
        step="status",
        upstream_status=status,
        upstream_code=problem.code,
        param=problem.param,
        detail=problem.message,
        retry_after_s=retry_after_s,
    )


def retry_after_s(headers: Mapping[str, str], *, now_s: float | None = None) -> float | None:
    """Seconds to wait as the upstream asks, between 0 and an hour; None if it does not say."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return _capped(milliseconds / 1000)
    value = headers.get("retry-after", "").strip()
    if (seconds := _number(value)) is not None:
        return _capped(seconds)
    if not (moment := _moment(value)):
        return None
    return _capped(moment - (_moment(headers.get("date", "")) or now_s or time.time()))


def _kind(status: int, problem: Problem) -> Kind:
    coded = _by_code(problem)
    if 300 <= status < 400 or status == 405:
        return WrongURL
    if status == 401:
        if _RESTRICTED.search(problem.message):
            return PermissionDenied
        return QuotaExceeded if coded is QuotaExceeded else AuthenticationFailed
    if status == 402:
        return QuotaExceeded
    if status == 403:
        return coded or PermissionDenied
    if status in (404, 410):
        if coded is not None:
            return coded
        return ModelNotFound if problem.structured and _NO_MODEL.search(problem.message) else WrongURL
    if status == 408:
        return TimedOut
    if status == 413:
        return ContextLengthExceeded if coded is ContextLengthExceeded else BadRequest
    if status == 429:
        return coded if coded in (QuotaExceeded, Overloaded) else RateLimited
    if status in (400, 422):
        return coded or _by_text(problem) or BadRequest
    if 400 <= status < 500:
        return coded or BadRequest
    if status == 501:
        return coded or Unsupported
    if status in (502, 503, 504, 520, 521, 522, 523, 524, 529):
        return coded if coded in (QuotaExceeded, RateLimited) else Overloaded
    if status >= 500:
        return coded or ServerFailed
    return GenericUpstreamError


def _by_code(problem: Problem) -> Kind | None:
    return next((_BY_CODE[plain] for code in problem.codes if (plain := _plain(code)) in _BY_CODE), None)


def _by_text(problem: Problem) -> Kind | None:
    return next((kind for pattern, kind in _BY_TEXT if pattern.search(problem.message)), None)


def _redirect_hint(location: str) -> str:
    try:
        host = words(urlsplit(location).hostname or "", 100)
    except ValueError:
        host = ""
    where = f" This one leads to {host}." if host else ""
    return f"Redirects are not followed.{where} Enter the final base URL."


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*[+-]?\d{1,15}(?:\.\d{1,9})?\s*", text, re.A) else None


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _capped(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
