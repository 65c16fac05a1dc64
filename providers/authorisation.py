"""A built request, with what proves who sends it: signed at once, or with a token that another call gives first.

    return await deliver(request, target, policy, pool, send)

does it all: `send` gets the signed request, and once more a newly signed one if the upstream refuses a token that was
kept from before. Who must hold the parts himself:

    signed = await authorised(request, target, policy, pool)
    ... signed.request is sent ...
    except UpstreamError as error:
        if isinstance(error, AuthenticationFailed) and signed.outworn():   # once: authorise and send again
        raise error.without(signed.secrets)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from core.errors import AppError
from providers import signers
from providers.errors import AuthenticationFailed, UpstreamError, WrongURL
from providers.signers.base import Signer
from providers.signers.exchange import Exchange, Token
from providers.target import Target
from providers.tokens import Tokens
from providers.upstream import Policy, Pool
from providers.wire import UpstreamRequest

T = TypeVar("T")

TOKENS = Tokens()
MAX_MEMO = 64  # origins and kinds of requests of one target


@dataclass(frozen=True, slots=True)
class Authorised:
    """A request that may be sent, and what signing added to it, in every part that an upstream may echo."""

    request: UpstreamRequest
    secrets: frozenset[str] = field(repr=False)
    _exchange: Exchange | None = field(default=None, repr=False)
    _token: Token | None = field(default=None, repr=False)
    _fresh: bool = True

    def outworn(self) -> bool:
        """To be called when the upstream refused the request's token: forgets it. True if a fresh one may help."""
        if self._exchange is None or self._token is None:
            return False
        TOKENS.drop(self._exchange, self._token)
        return not self._fresh


async def authorised(request: UpstreamRequest, target: Target, policy: Policy, pool: Pool | None = None) -> Authorised:
    """The request as it may be sent to the target; raises UpstreamError (step “sign”).

    A token that is needed is fetched under the same policy, from the address that the factory's row declares.
    """
    signer, credential = signers.get(target.signer), target.credential
    if signer.constant:
        return _constantly(request, target, signer)
    try:
        exchange = signer.exchange(request, credential, target.token_url)
        if exchange is None:
            signed = signer.sign(request, credential)
            return Authorised(signed, _added(request, signed))
        token, fresh = await TOKENS.get(exchange, policy, pool)
        signed = signer.sign(request, credential, token)
    except AppError as error:  # the secret was given for another origin; nothing was sent
        raise WrongURL(error.message, hint=error.hint, step="sign") from None
    return Authorised(signed, _added(request, signed) | set(token.values.values()), exchange, token, fresh)


def _constantly(request: UpstreamRequest, target: Target, signer: Signer) -> Authorised:
    """The headers that a signer adds, worked out once for all requests of the same make."""
    key = (request.origin, *request.headers)
    known = target.memo.get(key)
    if known is None:
        try:
            signed = signer.sign(request, target.credential)
        except AppError as error:
            raise WrongURL(error.message, hint=error.hint, step="sign") from None
        added = {name: value for name, value in signed.headers.items() if request.headers.get(name) != value}
        known = added, signed.headers.keys(), _added(request, signed)
        if len(target.memo) < MAX_MEMO:
            target.memo[key] = known
    added, names, secrets = known
    headers = {**request.headers, **added}
    if len(headers) != len(names):
        headers = {name: headers[name] for name in names}
    return Authorised(UpstreamRequest(request.method, request.url, headers, request.body), secrets)


async def deliver(
    request: UpstreamRequest,
    target: Target,
    policy: Policy,
    pool: Pool | None,
    send: Callable[[UpstreamRequest], Awaitable[T]],
) -> T:
    """What `send` makes of the authorised request; an UpstreamError comes through without the secrets in play."""
    signed = await authorised(request, target, policy, pool)
    try:
        return await send(signed.request)
    except UpstreamError as error:
        if not (isinstance(error, AuthenticationFailed) and signed.outworn()):
            raise error.without(signed.secrets) from None
    signed = await authorised(request, target, policy, pool)
    try:
        return await send(signed.request)
    except UpstreamError as error:
        if isinstance(error, AuthenticationFailed):
            signed.outworn()
        raise error.without(signed.secrets) from None


def _added(request: UpstreamRequest, signed: UpstreamRequest) -> frozenset[str]:
    values = {value for name, value in signed.headers.items() if request.headers.get(name) != value}
    values |= {part for value in values for part in value.split()[1:]}
    if signed.url != request.url:
        values |= set(_in_query(signed.url)) - set(_in_query(request.url)) - {signed.host}
    if signed.body != request.body:
        values |= set(_in_form((signed.body or b"").removesuffix(request.body or b"")))
    return frozenset(values)


def _in_query(url: str) -> Iterator[str]:
    """The values in a query, and the longer quoted words in those that are Base64 of a text."""
    for _, value in parse_qsl(urlsplit(url).query):
        yield value
        with suppress(ValueError):
            yield from re.findall(r'"([^"]{16,})"', base64.b64decode(value, validate=True).decode())


def _in_form(added: bytes) -> Iterator[str]:
    """The values of fields that were put in front of a form's others."""
    for line in added.decode(errors="replace").splitlines():
        if line and not line.startswith(("--", "Content-Disposition:")):
            yield line
