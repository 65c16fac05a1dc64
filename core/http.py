"""What is the same for every request: its id, its sender, how it wants its answer, and static files."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

from core.ids import new_id
from core.redact import redact

if TYPE_CHECKING:
    from rest_framework.request import Request

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id(given: str) -> str:
    """The name a caller gave its request, if it can stand in a header and a log line, else a new one: a key cannot."""
    return given if given and _ACCEPTABLE_ID.fullmatch(given) and redact(given) == given else new_id()


class RequestIdMiddleware:
    """Names each request: in the answer's `X-Request-Id`, and on every log line that is written meanwhile."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request_id(request.headers.get("X-Request-Id", ""))
        with structlog.contextvars.bound_contextvars(request_id=name):
            response = self.get_response(request)
        response["X-Request-Id"] = name
        return response


def client_address(request: HttpRequest | Request) -> str:
    """The caller's IP address; what a proxy says is believed only of as many proxies as we are told to trust."""
    address = str(request.META.get("REMOTE_ADDR") or "")
    forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR") or "")
    if settings.TRUSTED_PROXIES and forwarded:
        hops = [hop.strip() for hop in forwarded.split(",")]
        address = hops[-min(settings.TRUSTED_PROXIES, len(hops))]
    try:
        return str(ip_address(address))
    except ValueError:
        return ""


def prefers_async(request: HttpRequest | Request) -> bool:
    """Whether the caller would rather poll a job than wait for it (RFC 7240)."""
    preferences = request.headers.get("Prefer", "").replace(";", ",").split(",")
    return "respond-async" in {preference.strip().lower() for preference in preferences}


class StaticMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # the library is untyped
    """Serves the static files of the admin, each read whole: an ASGI server cannot stream a synchronous file."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        response = HttpResponse(found.file.read() if found.file is not None else b"", status=int(found.status))
        if found.file is not None:
            found.file.close()
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
