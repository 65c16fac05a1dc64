"""What a failure of the network means: an UpstreamError that says at which step it happened, and what to do about it.

Part of `providers.upstream`.
"""

from __future__ import annotations

import aiohttp

from providers.errors import AddressBlocked, BadReply, BadRequest, TimedOut, Unreachable, UpstreamError, WrongURL
from providers.sockets import Blocked

UNSENT = ("dns", "connect", "tls")  # steps at which nothing has reached the upstream


def of(error: Exception, step: str, *, connect_timeout_s: float) -> UpstreamError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, Blocked):
        return AddressBlocked(step="connect")
    if isinstance(error, TimeoutError):
        return connect_timed_out(step, connect_timeout_s) if step in UNSENT else timed_out(step, None)
    if isinstance(error, aiohttp.InvalidURL) or (isinstance(error, ValueError) and step == "dns"):
        return WrongURL("The base URL is not one that can be called.", step="build")
    if isinstance(error, aiohttp.ClientConnectorDNSError) or step == "dns":
        return Unreachable(
            "The host name of the base URL cannot be resolved.",
            hint="Check the base URL for a typing error.",
            step="dns",
        )
    if isinstance(error, aiohttp.ClientSSLError) or step == "tls":
        return _tls_failed(error)
    if step == "connect":
        return Unreachable(
            "The upstream does not accept connections.",
            hint="Check the host and port of the base URL, and that the server is running.",
            step="connect",
        )
    if isinstance(error, aiohttp.ClientPayloadError) or step == "body":
        return BadReply(
            "The answer was cut off before its end.",
            hint="Try again; if it stays so, look at the server's log or at the proxy in front of it.",
            step="body",
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return BadReply(
            "The upstream does not answer in HTTP, or its headers are malformed or too large.",
            hint="Check the scheme (http or https) and the port of the base URL.",
            step="headers",
        )
    if isinstance(error, ValueError):
        return BadRequest("The request cannot be sent.", step="send")
    return Unreachable(
        "The upstream closed the connection without an answer.",
        hint="Check the scheme (http or https) and the port of the base URL, and that the server is healthy.",
        step=step,
    )


def connect_timed_out(step: str, limit_s: float) -> TimedOut:
    """It could not be reached in time."""
    what = {"dns": "resolving its host name", "connect": "connecting to it", "tls": "agreeing on TLS with it"}[step]
    return TimedOut(
        f"The upstream cannot be reached: {what} took longer than {limit_s:g} s.",
        hint="Check the host and port of the base URL; a firewall may be in between.",
        step=step,
    )


def timed_out(step: str, limit_s: float | None) -> TimedOut:
    """It was reached, and then too slow."""
    what = {"send": "did not take the request", "headers": "did not begin to answer"}.get(step, "did not finish")
    within = "in time" if limit_s is None else f"within {limit_s:g} s"
    return TimedOut(f"The upstream {what} {within}.", step=step)


def stalled(limit_s: float) -> TimedOut:
    """It began to answer, and then sent nothing more."""
    return TimedOut(f"The upstream's answer stalled: nothing came for {limit_s:g} s.", step="body")


def _tls_failed(error: Exception) -> Unreachable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return Unreachable(
            "The upstream's TLS certificate is not trusted.",
            hint="It must be valid, for this host, and from a known authority; staff may lift this for local services.",
            step="tls",
        )
    return Unreachable(
        "TLS with the upstream failed.",
        hint="Check whether the base URL should begin with http:// instead, and the port.",
        step="tls",
    )
