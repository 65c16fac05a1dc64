"""What Bedrock's exceptions mean. Their names come in a header, in a stream's frame, or in the body.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html, …/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from providers.dialects.bodies import Problem, loads, read_problem, words
from providers.dialects.failures import Kind, classify, make, retry_after_s
from providers.dialects.openai import errors
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    UpstreamError,
    WrongURL,
)

_KINDS: dict[str, tuple[Kind, int]] = {
    "accessdenied": (PermissionDenied, 403),
    "optinrequired": (PermissionDenied, 403),
    "notauthorized": (PermissionDenied, 403),
    "unrecognizedclient": (AuthenticationFailed, 403),
    "invalidsignature": (AuthenticationFailed, 403),
    "signaturedoesnotmatch": (AuthenticationFailed, 403),
    "incompletesignature": (AuthenticationFailed, 403),
    "invalidclienttokenid": (AuthenticationFailed, 403),
    "missingauthenticationtoken": (AuthenticationFailed, 403),
    "expiredtoken": (AuthenticationFailed, 403),
    "requestexpired": (AuthenticationFailed, 403),
    "throttling": (RateLimited, 429),
    "servicequotaexceeded": (QuotaExceeded, 400),
    "resourcenotfound": (ModelNotFound, 404),
    "unknownoperation": (WrongURL, 404),
    "modelnotready": (Overloaded, 429),
    "modeltimeout": (TimedOut, 408),
    "modelerror": (ServerFailed, 424),
    "modelstreamerror": (ServerFailed, 424),
    "serviceunavailable": (Overloaded, 503),
    "internalserver": (ServerFailed, 500),
    "internalfailure": (ServerFailed, 500),
    "validation": (BadRequest, 400),
}
_TOO_LONG = re.compile(
    r"\binput is too long\b|\btoo many input tokens\b|\bexceeds? the (?:model|context|maximum)", re.I
)
_NO_MODEL = re.compile(r"\bmodel identifier is invalid\b|\bon-demand throughput\b|\bend of its life\b", re.I)
_PER_DAY = re.compile(r"\bper day\b|\bdaily\b", re.I)
_HINTS = {
    "on-demand throughput": "This model is called through an inference profile: use its id, such as us.<model> or "
    "eu.<model>, or its ARN.",
    "signature expired": "The clock of this server differs from AWS's: correct it.",
    "signature not yet current": "The clock of this server differs from AWS's: correct it.",
}


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if not 200 <= status < 300:
        name = _plain(headers.get("x-amzn-errortype", "")) or _named_in(body)
        if name in _KINDS:
            raise _error(name, status, _said(body), retry_after_s(headers))
    errors.raise_for(status, headers, body)


def in_stream(name: str, body: bytes) -> UpstreamError:
    """The error that a frame of a stream stands for."""
    plain = _plain(name)
    return _error(plain if plain in _KINDS else "internalserver", None, _said(body), None)


def _error(name: str, status: int | None, said: str, wait_s: float | None) -> UpstreamError:
    kind, usual = _KINDS[name]
    if kind is BadRequest and said:
        if _NO_MODEL.search(said):
            kind = ModelNotFound
        elif _TOO_LONG.search(said):
            kind = ContextLengthExceeded
        else:
            body = orjson.dumps({"message": said})
            kind = type(classify(400, {}, body))
    elif kind is RateLimited and _PER_DAY.search(said):
        kind = QuotaExceeded
    hint = next((text for mark, text in _HINTS.items() if mark in said.lower()), "")
    problem = Problem(words(said, 300), (f"{name}exception",), structured=True)
    return make(kind, problem, status=usual if status is None else status, hint=hint, retry_after_s=wait_s)


def _plain(name: str) -> str:
    """`throttling` for ThrottlingException, com.amazon.coral.service#Throttling… and Throttling…:http://…"""
    short = name.partition(":")[0].rpartition("#")[2].strip().lower()
    return short.removesuffix("exception")


def _named_in(body: bytes) -> str:
    try:
        data = loads(body)
    except ValueError:
        return ""
    name = data.get("__type") or data.get("code") if isinstance(data, dict) else None
    return _plain(name) if isinstance(name, str) else ""


def _said(body: bytes) -> str:
    return read_problem(body).message if body.strip() else ""
