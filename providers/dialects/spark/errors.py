"""Failures: `{"code": 10313, "message": "…", "sid": "…"}` in a message, or a refusal of the opening request.

Source: https://www.xfyun.cn/doc/tts/online_tts/API.html (错误码)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.bodies import Problem, read_problem, words
from providers.dialects.failures import make
from providers.dialects.openai import errors
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    GenericUpstreamError,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    UpstreamError,
)

_CODES: dict[int, type[UpstreamError]] = {
    10005: PermissionDenied,  # the app id is unknown, or has no speech
    10006: BadRequest,
    10007: BadRequest,
    10010: Overloaded,  # too few licences of the engine
    10019: TimedOut,
    10101: ServerFailed,
    10109: BadRequest,
    10110: PermissionDenied,
    10114: TimedOut,
    10160: BadRequest,
    10161: BadRequest,
    10163: BadRequest,
    10200: TimedOut,
    10222: ServerFailed,
    10313: AuthenticationFailed,  # the app id is empty, or not that of the API key
    10317: BadRequest,
    10700: ServerFailed,
    11200: PermissionDenied,  # a voice that was not bought
    11201: QuotaExceeded,  # all calls of the day are used
    11202: RateLimited,
    11203: RateLimited,
    11502: ServerFailed,
    11503: ServerFailed,
}
_HINTS = {
    10313: "Check that the app id is that of this API key.",
    11200: "Activate this voice in iFlytek's console, or use another one.",
    11201: "The calls of the day are used up; buy more in iFlytek's console.",
}
CLOCK = "If the keys are right, the time of this machine may be wrong: a signature holds for five minutes."


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if status in (401, 403):
        problem = read_problem(body)
        if status == 401 or "HMAC" in problem.message:
            raise make(AuthenticationFailed, problem, status=status, hint=CLOCK if "HMAC" in problem.message else "")
    errors.raise_for(status, headers, body)


def of(message: Mapping[str, Any]) -> UpstreamError:
    """The error that a message with another code than 0 stands for."""
    code, said = message.get("code"), message.get("message")
    kind = _CODES.get(code or 0, GenericUpstreamError)
    problem = Problem(words(said if isinstance(said, str) else "", 300), (words(str(code), 20),), structured=True)
    return make(kind, problem, status=200, hint=_HINTS.get(code or 0, ""))
