"""What the gateway answers when it cannot do what was asked, in the shape that OpenAI's clients know.

{"error": {"message": …, "type": …, "param": …, "code": …}}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from json import JSONDecodeError
from typing import Any

from core.redact import redact
from providers.errors import BadReply, UpstreamError
from usage.admission import Refused

MAX_ECHO = 200
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class GatewayError(Exception):
    """An answer that is an error. `code` is what programs look at, `message` what people read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
        upstream: UpstreamError | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.headers = dict(headers or {})
        self.upstream = upstream  # what it was made of, if an upstream failed

    def as_data(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def no_key() -> GatewayError:
    return GatewayError(
        401,
        "You didn't provide an API token. Send it as: Authorization: Bearer <token>.",
        headers={"www-authenticate": 'Bearer realm="llmadmin"'},
    )


def bad_key() -> GatewayError:
    return GatewayError(
        401,
        "This API token is not valid: it may have been mistyped, revoked, or have expired.",
        code="invalid_api_key",
        headers={"www-authenticate": 'Bearer realm="llmadmin", error="invalid_token"'},
    )


def missing_scope(scopes: str) -> GatewayError:
    return GatewayError(
        403, f"This API token lacks the scope {scopes}.", code="insufficient_scope", kind="permission_error"
    )


def unknown_model(model: str, candidates: Iterable[str] = ()) -> GatewayError:
    alike = ", ".join(_echo(one) for one in candidates)
    return GatewayError(
        404,
        f"The model '{_echo(model)}' does not exist or is not available to you. "
        + (f"Did you mean: {alike}?" if alike else "GET /v1/models lists those that are."),
        code="model_not_found",
        param="model",
    )


def ambiguous_model(model: str, candidates: Iterable[str]) -> GatewayError:
    alike = ", ".join(_echo(one) for one in candidates)
    return GatewayError(
        404,
        f"The model name '{_echo(model)}' is ambiguous here. Write one of: {alike}.",
        code="model_not_found",
        param="model",
    )


def no_model() -> GatewayError:
    return bad_request("You must provide a model parameter.", param="model")


def nothing_loaded() -> GatewayError:
    return GatewayError(
        404,
        "You must provide a model parameter: no service has a chat model loaded that could stand in. "
        "GET /v1/models lists what you may name.",
        code="model_not_found",
        param="model",
    )


def wrong_type(model: str, kinds: Iterable[str], possible: Iterable[str], operation: str) -> GatewayError:
    return GatewayError(
        400,
        f"The model '{_echo(model)}' is of type {', '.join(kinds)}, which {operation} cannot use; "
        f"it is called through: {', '.join(possible)}.",
        code="wrong_model_type",
        param="model",
    )


def bad_request(message: str, *, param: str | None = None, status: int = 400) -> GatewayError:
    return GatewayError(status, message, code="invalid_request", param=param)


def bad_json(body: bytes, error: Exception) -> GatewayError:
    """Where it is wrong, and never what stands there."""
    told = ""
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        line, column = body.count(b"\n", 0, wrong.start) + 1, wrong.start - body.rfind(b"\n", 0, wrong.start)
        told = f"not UTF-8: line {line}, byte {column}"
    else:
        if isinstance(error, JSONDecodeError):
            told = f"{error.msg}: line {error.lineno}, column {error.colno}"
    return bad_request(f"The request's body is not valid JSON{f' ({told})' if told else ''}.")


def encoded_request() -> GatewayError:
    return GatewayError(
        415,
        "The request's body is compressed. Send it as it is, without Content-Encoding.",
        code="invalid_request",
        headers={"accept-encoding": "identity"},
    )


def refused(refusal: Refused) -> GatewayError:
    """What a limit or a budget does not allow."""
    kind = "insufficient_quota" if refusal.code == "insufficient_quota" else "rate_limit_error"
    return GatewayError(refusal.status, str(refusal), code=refusal.code, kind=kind, headers=refusal.headers)


def of_upstream(error: UpstreamError) -> GatewayError:
    """What no target could do for the caller, with the upstream's own words where it had some."""
    words = f" The upstream says: {error.detail}" if error.detail and error.detail not in error.message else ""
    kind = _KINDS.get(error.http_status, "invalid_request_error" if error.http_status < 500 else "server_error")
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    param = error.param if error.http_status == 400 else ""
    return GatewayError(
        error.http_status,
        f"{error}{words}",
        code=error.code,
        param=param or None,
        kind=kind,
        headers=headers,
        upstream=error,
    )


def cut() -> UpstreamError:
    return BadReply("The upstream broke off its answer before the end.", hint="Ask again.", step="body")


def ledger_full() -> GatewayError:
    return GatewayError(
        503,
        "Calls cannot be recorded now, so none are made. Try again shortly.",
        code="unavailable",
        kind="server_error",
        headers={"retry-after": "5"},
    )


def unknown_path(method: str, path: str, served: Iterable[str]) -> GatewayError:
    return GatewayError(
        404,
        f"Unknown request URL: {_echo(method)} {_echo(path)} is not served here. "
        f"Of OpenAI's endpoints and those like them there are: {', '.join(served)}.",
        code="unknown_url",
    )


def wrong_method(method: str, path: str, allowed: str) -> GatewayError:
    return GatewayError(
        405,
        f"{_echo(method)} is not possible on {_echo(path)}; use {allowed}.",
        code="method_not_supported",
        headers={"allow": allowed},
    )


def unavailable() -> GatewayError:
    return GatewayError(
        503, "The gateway cannot look up your token now. Try again shortly.", code="unavailable", kind="server_error"
    )


def internal() -> GatewayError:
    return GatewayError(500, "The gateway had an error.", code="internal_error", kind="server_error")


def _echo(text: str) -> str:
    """What a caller sent, as far as it may come back: short, printable, and without a key that strayed into it."""
    return redact("".join(character if character.isprintable() else "?" for character in text))[:MAX_ECHO]
