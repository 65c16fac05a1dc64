"""What tenants are told of a service's failure: what kind it is and what to do, nothing of the machines it runs on.

A vendor's words reach the tenant whose key it is. A service is run by staff, and its words may name their folders and
networks; those who run it read them whole in its health, in their own jobs and in the log.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

import structlog

from core.places import without_places
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    BadReply,
    GenericUpstreamError,
    PermissionDenied,
    QuotaExceeded,
    Unreachable,
    UpstreamError,
    WrongURL,
)

E = TypeVar("E", bound=UpstreamError)

# What is wrong with the service, its key or its place: a caller can do nothing about it.
_FOR_STAFF = (
    *(AuthenticationFailed, PermissionDenied, QuotaExceeded, Unreachable, AddressBlocked, WrongURL, BadReply),
    GenericUpstreamError,
)
_HINT = "Try again later; if it stays so, tell those who run this installation."
logger = structlog.get_logger(__name__)


def for_tenants(error: E, *, service: str, urls: Iterable[str] = ()) -> E:
    """The same error in words for tenants: without the places in it, and with a hint that a caller can follow.

    What those who run the service have to mend is written to the log as it was said. `error` stays as it is.
    """
    told, places = copy.copy(error), list(urls)
    for name in ("message", "hint", "detail", "upstream_code"):
        setattr(told, name, without_places(getattr(error, name), urls=places))
    if isinstance(error, _FOR_STAFF):
        if not isinstance(error, GenericUpstreamError) or error.hint == error.default_hint:
            told.hint = _HINT  # what a driver itself says of a runtime's own failure helps those who asked for it
        said, status = error.detail or error.message, error.upstream_status
        logger.warning("service.failed", service=service, error=error.code, status=status, step=error.step, said=said)
    told.args = (told.message,)
    return told
