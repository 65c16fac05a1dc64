"""One call, from payload to reply: build → sign → send → parse. Whatever fails is an UpstreamError without secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from core.errors import AppError
from core.redact import redact
from providers import dialects, signers, upstream
from providers.errors import UpstreamError, WrongURL
from providers.target import Target
from providers.upstream import Policy, Pool
from providers.wire import Operation, Reply, UpstreamRequest


def call(target: Target, operation: Operation, payload: Mapping[str, Any], *, policy: Policy) -> Reply:
    """`acall` for synchronous code; not to be used inside a running event loop."""
    return asyncio.run(acall(target, operation, payload, policy=policy))


async def acall(
    target: Target, operation: Operation, payload: Mapping[str, Any], *, policy: Policy, pool: Pool | None = None
) -> Reply:
    """Call the target and return the parsed reply; raises UpstreamError, whatever the upstream does."""
    dialect = dialects.get(target.dialect)
    request = dialect.build(operation, payload, target)
    signed = _signed(request, target)
    try:
        response = await upstream.send(signed, policy, pool=pool)
        return dialect.parse(operation, response.status, response.headers, response.body)
    except UpstreamError as error:
        raise scrubbed(error, request, signed) from None


def scrubbed(error: UpstreamError, request: UpstreamRequest, signed: UpstreamRequest) -> UpstreamError:
    """The error without anything that signing added to the request, however the upstream echoes it."""
    secrets = _added(request, signed)
    for name in ("message", "hint", "detail", "upstream_code"):
        setattr(error, name, redact(getattr(error, name), secrets=secrets))
    error.args = (error.message,)
    return error


def _signed(request: UpstreamRequest, target: Target) -> UpstreamRequest:
    try:
        return signers.get(target.signer).sign(request, target.credential)
    except AppError as error:  # the secret was given for another origin; nothing was sent
        raise WrongURL(error.message, hint=error.hint, step="sign") from None


def _added(request: UpstreamRequest, signed: UpstreamRequest) -> set[str]:
    values = {value for name, value in signed.headers.items() if request.headers.get(name) != value}
    return values | {part for value in values for part in value.split()[1:]}
