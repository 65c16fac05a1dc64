"""One call, from payload to reply: build → sign → send → parse. Whatever fails is an UpstreamError without secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from providers import dialects, upstream
from providers.authorisation import deliver
from providers.pending import until_done
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

    async def send(request: UpstreamRequest, policy: Policy) -> Reply:
        async def sent(signed: UpstreamRequest) -> Reply:
            response = await upstream.send(signed, policy, pool=pool)
            return dialect.parse(operation, response.status, response.headers, response.body)

        return await deliver(request, target, policy, pool, sent)

    return await until_done(dialect.build(operation, payload, target), target, policy, send)
