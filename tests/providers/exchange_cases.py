"""What tests of calls over sockets share, and those of signers that exchange a credential for a token."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from core.netguard import parse_networks
from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Operation
from tests.fakes.upstream import FakeUpstream, Handler, Received

POLICY = Policy(parse_networks(["127.0.0.0/8"]), connect_timeout_s=10, total_timeout_s=30)
HI = {"messages": [{"role": "user", "content": "Hi"}]}


def target(upstream: FakeUpstream, signer: str, secret: str, **fields: str) -> Target:
    """A target whose tokens come from the upstream's own root."""
    credential = CredentialFields(fields, OpenSecret(secret, origin_of(upstream.url)))
    quirks = Quirks.from_data({"token_url": upstream.root})
    return Target("Fake", "fake-chat", upstream.url, signer=signer, quirks=quirks, credential=credential)


def chat(to: Target) -> Any:
    return call(to, Operation.CHAT, HI, policy=POLICY)


def numbers_tokens(upstream: FakeUpstream, path: str) -> None:
    """Its tokens are token-1, token-2, …; only the newest is good for a call."""

    def answer(handler: Handler) -> None:
        upstream.key = f"token-{upstream.calls[path]}"
        handler.json({"access_token": upstream.key, "expires_in": 3599, "token_type": "Bearer"})

    upstream.behave(path, answer)


def asked(upstream: FakeUpstream, path: str) -> tuple[Received, dict[str, str]]:
    """The last request for a token, and its form."""
    received = next(request for request in reversed(upstream.requests) if request.path == path)
    return received, {name: values[0] for name, values in parse_qs(received.body.decode()).items()}
