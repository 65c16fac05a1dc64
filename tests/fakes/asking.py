"""Sending one request for a test of the network."""

from __future__ import annotations

import asyncio

import pytest

from core.netguard import parse_networks
from providers.errors import UpstreamError
from providers.upstream import Policy, send
from providers.wire import UpstreamRequest, UpstreamResponse

LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])
POLICY = Policy(LOOPBACK, connect_timeout_s=5, total_timeout_s=10)
SHORT = Policy(LOOPBACK, connect_timeout_s=0.4, total_timeout_s=0.4)


def ask(url: str, policy: Policy = POLICY, body: bytes | None = None, /, **headers: str) -> UpstreamResponse:
    method = "GET" if body is None else "POST"
    return asyncio.run(send(UpstreamRequest(method, url, headers, body), policy))


def fail(kind: type[UpstreamError], url: str, policy: Policy = POLICY, body: bytes | None = None) -> UpstreamError:
    with pytest.raises(kind) as caught:
        ask(url, policy, body)
    assert type(caught.value) is kind
    assert caught.value.hint
    return caught.value
