"""What the gateway answers when it cannot do what was asked, in the shape that OpenAI's clients know.

{"error": {"message": …, "type": …, "param": …, "code": …}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.redact import redact

MAX_ECHO = 200


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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.headers = dict(headers or {})

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


def unknown_model(model: str) -> GatewayError:
    return GatewayError(
        404,
        f"The model '{_echo(model)}' does not exist or is not available to you. GET /v1/models lists those that are.",
        code="model_not_found",
        param="model",
    )


def unknown_path(method: str, path: str) -> GatewayError:
    return GatewayError(404, f"Unknown request URL: {_echo(method)} {_echo(path)}.", code="unknown_url")


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
