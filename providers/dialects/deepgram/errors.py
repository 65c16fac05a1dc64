"""Answers that are not a success: `{"err_code": "INVALID_AUTH", "err_msg": "…", "request_id": "…"}`.

Source: https://developers.deepgram.com/reference/errors
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from providers.dialects.bodies import read_problem
from providers.dialects.failures import classify_body, make
from providers.dialects.openai import errors
from providers.errors import PermissionDenied, UpstreamError

# What Deepgram's codes are called elsewhere.
_ALIASES = {
    "INVALID_AUTH": "invalid_api_key",
    "INSUFFICIENT_PERMISSIONS": "permission_denied",
    "ASR_PAYMENT_REQUIRED": "insufficient_credits",
    "TOO_MANY_REQUESTS": "too_many_requests",
}
_NO_MODEL = re.compile(r"\bno such model\b|\bmodel\b.{0,80}\bnot (?:found|exist)", re.I | re.S)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        body = _plain(body)
        problem = read_problem(body)
        if status == 401 and "permission_denied" in problem.codes:  # the key is fine, but restricted
            raise make(PermissionDenied, problem, status=status)
    errors.raise_for(status, headers, body)


def in_body(body: bytes) -> UpstreamError:
    """The error in a body whose status is a success."""
    return classify_body(200, _plain(body))


def _plain(body: bytes) -> bytes:
    """The same error under the names that all others use."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(data, dict) or not isinstance(message := data.get("err_msg"), str):
        return body
    code = str(data.get("err_code") or "")
    code = "model_not_found" if _NO_MODEL.search(message) else _ALIASES.get(code, code)
    return orjson.dumps({"error": {"message": message, "code": code}})
