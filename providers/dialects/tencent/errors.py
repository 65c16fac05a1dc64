"""Failures, most of them with status 200: `{"Response": {"Error": {"Code": "…", "Message": "…"}, "RequestId": "…"}}`.

Source: the 错误码 of https://cloud.tencent.com/document/api/1093/35646 and …/37823
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.dialects.bodies import Problem, words
from providers.dialects.failures import make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    UpstreamError,
    WrongURL,
)

CLOCK = "The time of this machine seems to be wrong: a signature holds for five minutes."
# A code or, where the whole is not listed, its part before the dot.
_CODES: dict[str, type[UpstreamError]] = {
    "AuthFailure": AuthenticationFailed,
    "AuthFailure.CheckResourceResponseCodeError": PermissionDenied,
    "AuthFailure.UnauthorizedOperation": PermissionDenied,
    "UnauthorizedOperation": PermissionDenied,
    "FailedOperation.CheckAuthInfoFailed": AuthenticationFailed,
    "FailedOperation.UserNotRegistered": PermissionDenied,
    "FailedOperation.ServiceIsolate": QuotaExceeded,
    "FailedOperation.UserHasNoAmount": QuotaExceeded,
    "FailedOperation.UserHasNoFreeAmount": QuotaExceeded,
    "FailedOperation.ErrorRecognize": BadRequest,
    "FailedOperation": GenericUpstreamError,
    "InternalError": ServerFailed,
    "InvalidParameterValue.ErrorInvalidEngservice": ModelNotFound,
    "InvalidParameterValue.ModelId": ModelNotFound,
    "InvalidParameterValue": BadRequest,
    "InvalidParameter": BadRequest,
    "InvalidRequest": BadRequest,
    "MissingParameter": BadRequest,
    "UnknownParameter": BadRequest,
    "UnsupportedOperation": BadRequest,
    "RequestSizeLimitExceeded": BadRequest,
    "RequestLimitExceeded": RateLimited,
    "LimitExceeded": QuotaExceeded,
    "ResourceInsufficient": Overloaded,
    "ResourceUnavailable": Overloaded,
    "ServiceUnavailable": Overloaded,
    "IpInBlacklist": PermissionDenied,
    "IpNotInWhitelist": PermissionDenied,
    "InvalidAction": WrongURL,
    "ActionOffline": WrongURL,
    "NoSuchProduct": WrongURL,
    "NoSuchVersion": WrongURL,
}
_HINTS = {
    "AuthFailure.SignatureExpire": CLOCK,
    "FailedOperation.UserNotRegistered": "Activate speech recognition in Tencent Cloud's console.",
    "FailedOperation.ErrorRecognize": "Check that the audio is of the format that it is said to be.",
    "InvalidParameterValue.ErrorVoicedataTooLong": "Send shorter audio, or in a format whose length is known: WAV.",
}


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    response = inner(body)
    if isinstance(response.get("Error"), dict):
        raise of(response["Error"], status=status, wait_s=retry_after_s(headers))
    errors.raise_for(status, headers, body)


def inner(body: bytes) -> dict[str, Any]:
    """What is inside of `Response`; empty if the body has none."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    response = data.get("Response") if isinstance(data, dict) else None
    return response if isinstance(response, dict) else {}


def of(error: Mapping[str, Any], *, status: int, wait_s: float | None = None) -> UpstreamError:
    code, message = (value if isinstance(value := error.get(name), str) else "" for name in ("Code", "Message"))
    kind = _CODES.get(code) or _CODES.get(code.partition(".")[0]) or GenericUpstreamError
    problem = Problem(words(message, 300), (words(code.lower(), 80),) if code else (), structured=True)
    return make(kind, problem, status=status, hint=_HINTS.get(code, ""), retry_after_s=wait_s)
